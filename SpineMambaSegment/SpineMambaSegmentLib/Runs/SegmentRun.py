"""Segmentation of a volume: volume node -> run folder -> worker process -> segments."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol import events
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.model_card import DEFAULT
from spinemamba.protocol.remote.site import Site
from spinemamba.protocol.result import read_result
from SpineMambaSegmentLib.Review.Sessions import startReview
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene import Frames, Inputs, Provenance, Segments, WriteMark
from SpineMambaSegmentLib.Scene.Files import VolumeFile
from SpineMambaSegmentLib.Scene.Grid import Grid, fineGrid, gridOf, setReferenceGrid
from SpineMambaSegmentLib.Scene.LabelFile import labelsInSteps

SERVER = "server"
"""Value of `RunOptions.device` for a server."""


@dataclass(frozen=True)
class RunOptions:
    """Options of a run; values as in `spinemamba.protocol.job.SegmentJob`.

    Attributes:
        model: Name of a bundled model, or a folder.
        device: "auto", "cpu", "cuda", "cuda:1" ..., "mps"; or `SERVER`.
        modality: "auto", "ct" or "mr".
        quality: "standard" or "fast".
        roiNode: Region to segment; None for the whole volume.
        allFrames: If True, all frames of the volume's sequence are segmented; see
            `Runs.SequenceRun`.
        site: The server, if the device is `SERVER`; None if its address is not valid.
        fineSlices: If True, thick slices are subdivided; the segments are then on finer voxels
            than the volume.
    """

    model: str = DEFAULT
    device: str = "auto"
    modality: str = "auto"
    quality: str = "standard"
    roiNode: slicer.vtkMRMLMarkupsROINode | None = None
    allFrames: bool = False
    site: Site | None = None
    fineSlices: bool = False


class MarkedRun(WorkerRun):
    """Base of runs that write a segmentation; only one run may write it at a time.

    Attributes:
        volumeNode: The image.
        segmentationNode: Receives the segments; None until a new one is created.
        importedIds: IDs of the segments that the run has added to the node; empty if they were
            stored in frames of a sequence.
        isReviewStarted: True if the run has prepared the segments for review, frame by frame.
        onStored: Called with the proxy node and the index value of each frame that was stored.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        temporaryFolder: Path,
    ):
        Inputs.checkVolume(volumeNode)
        Inputs.checkSegmentation(segmentationNode, volumeNode)
        WriteMark.check(segmentationNode)
        super().__init__(temporaryFolder)
        self.volumeNode, self.segmentationNode = volumeNode, segmentationNode
        self.importedIds: list[str] = []
        self.isReviewStarted = False
        self.onStored: Callable[[slicer.vtkMRMLSegmentationNode, str], None] = lambda *_: None
        self._mark: WriteMark.Mark | None = None

    def wait(self) -> slicer.vtkMRMLSegmentationNode:
        """Wait for the end and return the segmentation; for scripts.

        Raises:
            UserError: Error of the run.
        """
        self.waitForEnd()
        return self.segmentationNode

    def _setMark(self) -> None:
        if self._mark is None and self.segmentationNode is not None:
            self._mark = WriteMark.place(self.segmentationNode, self.volumeNode)

    def _hasNode(self) -> bool:
        """Return whether there is a segmentation; the user may delete it during the run."""
        return self.segmentationNode is not None and self.segmentationNode.GetScene() is not None

    def _name(self) -> str:
        """Return the name of a new segmentation."""
        return _("{volume} spine").format(volume=self.volumeNode.GetName())

    def _kill(self) -> None:
        super()._kill()
        if self._mark is not None:
            WriteMark.remove(self._mark)
            self._mark = None

    def _check(self) -> None:
        checkInScene(self.volumeNode)


class SegmentRun(MarkedRun):
    """Run over a volume. Starts at once; see `WorkerRun.follow` and `wait`.

    If the segmentation is a proxy node of a sequence, the result is stored in the frame that it
    shows at the start.

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
        options = options or RunOptions()
        roi = options.roiNode
        Inputs.checkVolume(volumeNode)
        extent = None if roi is None else Inputs.regionExtent(volumeNode, roi)
        device = deviceOf(options)
        Inputs.checkSlices(segmentationNode, volumeNode, fine=options.fineSlices)
        super().__init__(volumeNode, segmentationNode, temporaryFolder)
        job = jobIn(self._folder, options, device)
        self._frame = None if segmentationNode is None else Frames.frameOf(segmentationNode)
        # The browser may go to another frame during the run.
        imageFrame = None if self._frame is None else Frames.frameOf(volumeNode)
        self._image = volumeNode if imageFrame is None else imageFrame.dataNode or volumeNode
        self._gridAtStart = gridOf(volumeNode)
        self._early += [events.Warning(t) for t in Inputs.hints(volumeNode, segmentationNode)]
        self._file = VolumeFile(volumeNode, self._folder / "input.nrrd", extent)
        self._setMark()
        self._site = options.site
        self._start([self._file], job)

    def _import(self) -> Iterator[None]:
        """Add the result to the scene, in short steps."""
        if not gridOf(self._image).isSameAs(self._gridAtStart):
            raise UserError(
                _("The input volume was replaced during the run."), _("Press Segment Spine again.")
            )
        yield
        if not self._hasNode():
            scene = self.volumeNode.GetScene()
            self.segmentationNode = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", self._name())
            self._frame = None
        elif self._frame is not None and self._frame.isInScene():
            scratch = slicer.vtkMRMLScene()
            node = self._frame.copyTo(scratch)
            yield from importInto(node, self._job, self._file.grid, self._image)
            startReview(node)
            self._frame.store(node)
            self.isReviewStarted = True
            self.onStored(self.segmentationNode, self._frame.indexValue)
            return
        # It may have become a segmentation of surfaces during the run.
        Inputs.checkSegmentation(self.segmentationNode, self.volumeNode)
        self.importedIds = yield from importInto(
            self.segmentationNode, self._job, self._file.grid, self.volumeNode
        )


def deviceOf(options: RunOptions) -> str:
    """Return the device of a job; a server chooses among its own.

    Raises:
        UserError: If the device is a server without a valid address (SERVER_REFUSED).
    """
    if options.device != SERVER:
        return options.device
    if options.site is None:
        raise UserError(
            _("The address of the server is missing or not valid."),
            _("Enter it in the section Setup, or choose another device."),
            Code.SERVER_REFUSED,
        )
    return "auto"


def jobIn(folder: Path, options: RunOptions, device: str) -> SegmentJob:
    """Return the job of a run with its files in a folder.

    Args:
        folder: Folder of its files.
        options: Options of the run.
        device: Device as returned by `deviceOf`.
    """
    return SegmentJob(
        folder / "input.nrrd",
        folder / "labels.nrrd",
        folder / "result.json",
        model=options.model,
        device=device,
        modality=options.modality,
        quality=options.quality,
        fine_slices=options.fineSlices,
    )


def importInto(
    node: slicer.vtkMRMLSegmentationNode,
    job: SegmentJob,
    grid: Grid,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
) -> Generator[None, None, list[str]]:
    """Add the results of a job to a segmentation, in short steps.

    Args:
        node: Receives the segments.
        job: Job that has finished.
        grid: Grid of its input.
        volumeNode: The segmented image.

    Returns:
        IDs of the new segments, from head to tail.
    """
    labels = yield from labelsInSteps(job.output, grid, fine=job.fine_slices)
    tags = Provenance.tagsByLabel(read_result(job.result))
    yield
    ids = yield from Segments.segmentsInSteps(labels, node, volumeNode, tags)
    if job.fine_slices:
        setReferenceGrid(node, fineGrid(labels, gridOf(volumeNode)))
    Provenance.keepResult(node, job.result)
    # One surface per step: all at once would block Slicer for more than a second.
    surfaces = {}
    for segmentId in ids:
        yield
        # The user may have deleted it.
        if node.GetSegmentation().GetSegment(segmentId) is not None:
            surfaces[segmentId] = Segments.surfaceOf(node, segmentId)
    yield
    Segments.keepSurfaces(node, surfaces)
    # The panel shows the segments at the end, which takes as long as a step.
    yield
    return ids


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
