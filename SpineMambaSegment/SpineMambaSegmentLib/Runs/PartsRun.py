"""Division of vertebrae into parts: segments -> worker -> a new segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.job import PartsJob
from SpineMambaSegmentLib.Runs.LevelLabels import LevelLabels
from SpineMambaSegmentLib.Runs.SegmentRun import checkInScene
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene import Segments
from SpineMambaSegmentLib.Scene.Comparison import readSegNrrd
from SpineMambaSegmentLib.Scene.Files import resultText


class PartsRun(WorkerRun):
    """Division into parts. Starts at once; see `WorkerRun.follow` and `wait`.

    Attributes:
        partsNode: Segmentation with the parts, discs and canal; None before `Finished`.

    Args:
        volumeNode: The image; its grid is used.
        segmentationNode: Its vertebrae, named by level; unchanged.
        temporaryFolder: Folder in which the run folder is created; deleted at the end of the run.

    Raises:
        UserError: If there are no vertebrae, two have the same level, or the nodes are under
            different transforms.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        temporaryFolder: Path,
    ):
        labelled = LevelLabels.of(volumeNode, segmentationNode)
        super().__init__(temporaryFolder)
        self.partsNode: slicer.vtkMRMLSegmentationNode | None = None
        self._volumeNode = volumeNode
        self._name = _("{segmentation} parts").format(segmentation=segmentationNode.GetName())
        paths = [self._folder / name for name in ("labels.nrrd", "result.json")]
        result = resultText(segmentationNode)
        if result is not None:
            paths[1].write_text(result, encoding="utf-8")
        run = paths[1] if result is not None else None
        job = PartsJob(paths[0], self._folder / "parts.seg.nrrd", run=run)
        self._start([labelled.file(paths[0])], job)

    def wait(self) -> slicer.vtkMRMLSegmentationNode:
        """Wait for the end of the run and return the parts; for scripts.

        Raises:
            UserError: Error of the run.
        """
        self.waitForEnd()
        return self.partsNode

    def _check(self) -> None:
        checkInScene(self._volumeNode)

    def _import(self) -> Iterator[None]:
        """Add the segmentation to the scene, in two steps."""
        scratch = slicer.vtkMRMLSegmentationNode()
        try:
            readSegNrrd(self._job.output, scratch)
        except ValueError as error:
            raise UserError(
                _("The parts could not be read."), _("Divide again."), Code.INTERNAL
            ) from error
        yield
        self._check()
        scene = self._volumeNode.GetScene()
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", self._name)
        node.GetSegmentation().DeepCopy(scratch.GetSegmentation())
        Segments.placeUnder(node, self._volumeNode)
        self.partsNode = node
