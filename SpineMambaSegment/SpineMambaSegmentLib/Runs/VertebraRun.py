"""One vertebra in a box around a place: volume and segments -> worker -> voxels of the vertebra.

Nothing in the scene changes: who asked gets a `VertebraPatch`, and does with it what can be undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.job import BoxJob
from spinemamba.protocol.vertebra_result import BoxResult, read_box_result
from SpineMambaSegmentLib.Review.Mask import Mask
from SpineMambaSegmentLib.Review.ShapeActions import SetMask
from SpineMambaSegmentLib.Review.Spine import Spine
from SpineMambaSegmentLib.Runs.SegmentRun import RunOptions, checkInScene
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene import Inputs, Segments
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf
from SpineMambaSegmentLib.Scene.LabelArray import imageOf, labelArray, onGrid, vertebraIds
from SpineMambaSegmentLib.Scene.VolumeFile import ArrayFile, Extent, VolumeFile

REACH_MM = np.array([80.0, 100.0, 70.0])
"""Along R, A and S, from a place in a body: the worker looks no further."""


@dataclass(frozen=True)
class VertebraRequest:
    """Which vertebra is wanted.

    Attributes:
        placeRas: A place in its body, in the volume's own RAS; None for the body of ``segmentId``.
        segmentId: The vertebra that shall be found anew; empty for one that was missed.
        keep: IDs of segments whose voxels it must not take, because a person approved them. Found
            anew, it takes those of no segment.
    """

    placeRas: tuple[float, float, float] | None = None
    segmentId: str = ""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class VertebraPatch:
    """The vertebra that was found.

    Attributes:
        mask: Where it is, bool (k, j, i).
        grid: Voxels of the mask: a part of the volume's, in its own RAS.
        firstKji: First voxel of the mask on the whole volume.
        result: What is known of it.
    """

    mask: np.ndarray
    grid: Grid
    firstKji: tuple[int, int, int]
    result: BoxResult


class VertebraRun(WorkerRun):
    """Starts at once; ``newEvents`` must then be called until `Finished` or `Failed` came.

    Attributes:
        patch: The vertebra; None until `Finished` came.

    Args:
        volumeNode: The image.
        segmentationNode: What is there; under the same transform as the volume.
        request: Which vertebra.
        temporaryFolder: The run folder is made in here, and deleted when the run ends.
        options: What the user chose; quality and region do not matter.

    Raises:
        UserError: If the volume cannot be segmented, or the place or the vertebra is not there.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        request: VertebraRequest,
        temporaryFolder: Path,
        options: RunOptions | None = None,
    ):
        Inputs.checkVolume(volumeNode)
        Inputs.checkSegmentation(segmentationNode)
        options = options or RunOptions()
        ids = vertebraIds(segmentationNode)
        extent = _extent(volumeNode, segmentationNode, request)
        super().__init__(temporaryFolder)
        self.volumeNode, self.request = volumeNode, request
        self.patch: VertebraPatch | None = None
        self._first = (extent[4], extent[2], extent[0])
        self._gridAtStart = gridOf(volumeNode)
        image = VolumeFile(volumeNode, self._folder / "input.nrrd", extent)
        self._grid = image.grid
        there = labelArray(segmentationNode, ids, image.grid)
        numbers = {segmentId: number for number, segmentId in enumerate(ids, start=1)}
        place = request.placeRas
        job = BoxJob(
            self._folder / "input.nrrd",
            self._folder / "mask.nrrd",
            self._folder / "box.json",
            labels=self._folder / "there.nrrd",
            place_lps_mm=None if place is None else (-place[0], -place[1], place[2]),
            again=numbers[request.segmentId] if request.segmentId else 0,
            keep=tuple(numbers[i] for i in request.keep if i in numbers and i != request.segmentId),
            model=options.model,
            device=options.device,
            modality=options.modality,
        )
        self._start([image, ArrayFile(there, image.grid, self._folder / "there.nrrd")], job)

    def wait(self) -> VertebraPatch:
        """Wait for the end and return the vertebra; for scripts.

        Raises:
            UserError: What the run failed with.
        """
        self.waitForEnd()
        return self.patch

    def _check(self) -> None:
        checkInScene(self.volumeNode)

    def _import(self) -> Iterator[None]:
        image = Segments.readImage(self._job.output, self._grid)
        if not gridOf(self.volumeNode).isSameAs(self._gridAtStart):
            raise UserError(
                _("The input volume was replaced during the run."), _("Look for it again.")
            )
        yield
        mask = onGrid(image, self._grid) > 0
        self.patch = VertebraPatch(mask, self._grid, self._first, read_box_result(self._job.result))


def setMask(spine: Spine, patch: VertebraPatch, segmentId: str = "", level: str = "") -> SetMask:
    """Return the step that gives a vertebra the voxels of a patch.

    Args:
        spine: The vertebrae as they are now.
        patch: What a run in a box found.
        segmentId: The vertebra; empty for a new one.
        level: Level of a new one; empty for the free one that fits best to its place.
    """
    title = _("Find again") if segmentId else _("Add a vertebra")
    return SetMask(segmentId, _maskOf(spine, patch), level, title)


def _maskOf(spine: Spine, patch: VertebraPatch) -> Mask:
    """Return a patch on the lattice of the segmentation, which need not be the volume's."""
    ijk = spine.grid.toIjk(patch.grid.corners())
    first = np.floor(ijk.min(axis=0) + 1e-4).astype(int)
    last = np.ceil(ijk.max(axis=0) - 1e-4).astype(int)
    part = spine.grid.cut(tuple(int(n) for pair in zip(first, last, strict=True) for n in pair))
    inside = onGrid(imageOf(patch.mask.astype(np.uint8), patch.grid), part) > 0
    return Mask.of(inside, tuple(int(n) for n in first[::-1]))


def _extent(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    request: VertebraRequest,
) -> Extent:
    """Return the voxels (i, i, j, j, k, k) that matter.

    Raises:
        UserError: If the place is not in the volume, or the vertebra is not there.
    """
    grid = gridOf(volumeNode)
    low, high = _boundsRas(segmentationNode, request)
    middle = grid.toIjk((low + high) / 2)
    if (middle < -0.5).any() or (middle > np.array(grid.size) - 0.5).any():
        raise UserError(
            _("The place lies outside of {volume}.").format(volume=volumeNode.GetName()),
            _("Click into the body of a vertebra."),
            Code.INPUT_BAD,
        )
    return grid.extentAround(low - REACH_MM, high + REACH_MM)


def _boundsRas(
    segmentationNode: slicer.vtkMRMLSegmentationNode, request: VertebraRequest
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest RAS of the place, or of the vertebra that is to be replaced."""
    if request.placeRas is not None:
        return np.array(request.placeRas), np.array(request.placeRas)
    bounds = np.zeros(6)
    segment = segmentationNode.GetSegmentation().GetSegment(request.segmentId)
    if segment is not None:
        segment.GetBounds(bounds)
    if segment is None or bounds[0] > bounds[1]:
        raise UserError(
            _("The vertebra is not there any more."),
            _("Choose a vertebra in the table."),
            Code.INPUT_BAD,
        )
    return bounds[::2], bounds[1::2]
