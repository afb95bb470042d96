"""One run: volume node -> run folder -> worker process -> segments. MRML and files, no Qt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol import events
from spinemamba.protocol.job import Job
from spinemamba.protocol.model_card import DEFAULT
from spinemamba.protocol.result import read_result
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene import Inputs, Provenance, Segments
from SpineMambaSegmentLib.Scene.Grid import gridOf
from SpineMambaSegmentLib.Scene.VolumeFile import VolumeFile


@dataclass(frozen=True)
class RunOptions:
    """What the user may choose for a run; the words are those of `job.Job`.

    Attributes:
        model: Name of a bundled model, or a folder.
        device: "auto", "cpu", "cuda", "cuda:1" ..., "mps".
        modality: "auto", "ct" or "mr".
        quality: "standard" or "fast".
        roiNode: Only what lies in this region is segmented; None for all.
    """

    model: str = DEFAULT
    device: str = "auto"
    modality: str = "auto"
    quality: str = "standard"
    roiNode: slicer.vtkMRMLMarkupsROINode | None = None


class SegmentRun(WorkerRun):
    """Starts at once; ``newEvents`` must then be called until `Finished` or `Failed` came.

    Args:
        volumeNode: The image to segment.
        segmentationNode: Where the segments go; None makes a new node when they are there.
        temporaryFolder: The run folder is made in here, and deleted when the run ends.
        options: What the user chose.

    Raises:
        UserError: If the volume cannot be segmented, or the segmentation not be added to.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        temporaryFolder: Path,
        options: RunOptions | None = None,
    ):
        Inputs.checkVolume(volumeNode)
        Inputs.checkSegmentation(segmentationNode)
        options = options or RunOptions()
        roi = options.roiNode
        extent = None if roi is None else Inputs.regionExtent(volumeNode, roi)
        super().__init__(temporaryFolder)
        self.volumeNode, self.segmentationNode = volumeNode, segmentationNode
        self.importedIds: list[str] = []
        self._gridAtStart = gridOf(volumeNode)
        self._early += [events.Warning(text) for text in Inputs.hints(volumeNode)]
        self._file = VolumeFile(volumeNode, self._folder / "input.nrrd", extent)
        job = Job(
            self._folder / "input.nrrd",
            self._folder / "labels.nrrd",
            self._folder / "result.json",
            model=options.model,
            device=options.device,
            modality=options.modality,
            quality=options.quality,
        )
        self._start([self._file], job)

    def wait(self) -> slicer.vtkMRMLSegmentationNode:
        """Wait for the end and return the segmentation; for scripts.

        Raises:
            UserError: What the run failed with.
        """
        self.waitForEnd()
        return self.segmentationNode

    def _check(self) -> None:
        checkInScene(self.volumeNode)

    def _import(self) -> Iterator[None]:
        """Bring the result into the scene, in steps that each are short."""
        labels = Segments.readLabels(self._job.output, self._file.grid)
        result = read_result(self._job.result)
        yield
        scene = self.volumeNode.GetScene()
        if not gridOf(self.volumeNode).isSameAs(self._gridAtStart):
            raise UserError(
                _("The input volume was replaced during the run."), _("Press Segment Spine again.")
            )
        # A node that the user deleted meanwhile is out of the scene, but not None.
        if self.segmentationNode is None or self.segmentationNode.GetScene() is None:
            name = _("{volume} spine").format(volume=self.volumeNode.GetName())
            self.segmentationNode = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node, tags = self.segmentationNode, Provenance.tagsByLabel(result)
        self.importedIds = Segments.addSegments(labels, node, self.volumeNode, tags)
        Provenance.keepResult(node, self._job.result)
        # One by one: all surfaces at once hold up Slicer for more than a second.
        surfaces = {}
        for segmentId in self.importedIds:
            yield
            # The user may delete one meanwhile.
            if node.GetSegmentation().GetSegment(segmentId) is not None:
                surfaces[segmentId] = Segments.surfaceOf(node, segmentId)
        yield
        Segments.keepSurfaces(node, surfaces)


def checkInScene(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Check that a volume was not deleted during a run.

    Raises:
        UserError: If it was.
    """
    if volumeNode.GetScene() is None:
        raise UserError(
            _("The input volume was deleted during the run."),
            _("Load it again and press Segment Spine."),
            Code.INPUT_BAD,
        )
