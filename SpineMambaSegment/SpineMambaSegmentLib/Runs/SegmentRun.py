"""Segmentation of a volume: volume node -> run folder -> worker process -> segments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol import events
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.model_card import DEFAULT
from spinemamba.protocol.result import read_result
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene import Inputs, Provenance, Segments
from SpineMambaSegmentLib.Scene.Files import VolumeFile
from SpineMambaSegmentLib.Scene.Grid import gridOf


@dataclass(frozen=True)
class RunOptions:
    """Options of a run; values as in `spinemamba.protocol.job.SegmentJob`.

    Attributes:
        model: Name of a bundled model, or a folder.
        device: "auto", "cpu", "cuda", "cuda:1" ..., "mps".
        modality: "auto", "ct" or "mr".
        quality: "standard" or "fast".
        roiNode: Region to segment; None for the whole volume.
    """

    model: str = DEFAULT
    device: str = "auto"
    modality: str = "auto"
    quality: str = "standard"
    roiNode: slicer.vtkMRMLMarkupsROINode | None = None


class SegmentRun(WorkerRun):
    """Run over a volume. Starts at once; see `WorkerRun.follow` and `wait`.

    Args:
        volumeNode: The image to segment.
        segmentationNode: Node that receives the segments; None creates a node at the end.
        temporaryFolder: Folder in which the run folder is created; deleted at the end of the run.
        options: Model, device, modality, quality and region.

    Raises:
        UserError: If the volume cannot be segmented, or the segmentation cannot take segments.
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
        job = SegmentJob(
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
            UserError: Error of the run.
        """
        self.waitForEnd()
        return self.segmentationNode

    def _check(self) -> None:
        checkInScene(self.volumeNode)

    def _import(self) -> Iterator[None]:
        """Add the result to the scene, in short steps."""
        labels = Segments.readImage(self._job.output, self._file.grid)
        yield
        Segments.checkLabels(labels)
        result = read_result(self._job.result)
        yield
        scene = self.volumeNode.GetScene()
        if not gridOf(self.volumeNode).isSameAs(self._gridAtStart):
            raise UserError(
                _("The input volume was replaced during the run."), _("Press Segment Spine again.")
            )
        # A node that the user deleted during the run is not None, but has no scene.
        if self.segmentationNode is None or self.segmentationNode.GetScene() is None:
            name = _("{volume} spine").format(volume=self.volumeNode.GetName())
            self.segmentationNode = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node, tags = self.segmentationNode, Provenance.tagsByLabel(result)
        self.importedIds = Segments.addSegments(labels, node, self.volumeNode, tags)
        Provenance.keepResult(node, self._job.result)
        # One surface per step: all at once would block Slicer for more than a second.
        surfaces = {}
        for segmentId in self.importedIds:
            yield
            # The user may have deleted it.
            if node.GetSegmentation().GetSegment(segmentId) is not None:
                surfaces[segmentId] = Segments.surfaceOf(node, segmentId)
        yield
        Segments.keepSurfaces(node, surfaces)


def checkInScene(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Check that a volume is still in the scene.

    Raises:
        UserError: If it was deleted.
    """
    if volumeNode.GetScene() is None:
        raise UserError(
            _("The input volume was deleted during the run."),
            _("Load it again and press Segment Spine."),
            Code.INPUT_BAD,
        )
