"""Re-segmentation of one vertebra, or segmentation of a missed one, in a box around it.

The run changes nothing in the scene. It returns a `VertebraPatch`, from which `setMask` makes a
review action that can be undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.job import ResegmentJob
from spinemamba.protocol.vertebra_result import VertebraResult, read_vertebra_result
from SpineMambaSegmentLib.Review.Mask import Mask
from SpineMambaSegmentLib.Review.ShapeActions import SetMask
from SpineMambaSegmentLib.Review.Spine import Spine
from SpineMambaSegmentLib.Runs.SegmentRun import RunOptions, checkInScene, deviceOf
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene import Inputs, Segments, WriteMark
from SpineMambaSegmentLib.Scene.Files import ArrayFile, Extent, VolumeFile
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf
from SpineMambaSegmentLib.Scene.LabelArray import checkSameTransform, imageOf, labelArray, onGrid
from SpineMambaSegmentLib.Scene.Ownership import vertebraIds

_HALF_BOX_MM = np.array([80.0, 100.0, 70.0])
"""Half size of the box along R, A and S around a position in the body. The worker uses a smaller
box."""


@dataclass(frozen=True)
class VertebraRequest:
    """Which vertebra to segment.

    Attributes:
        placeRas: Position in its body, in the volume's own RAS; None for the body of ``segmentId``.
        segmentId: Vertebra to segment again; empty to add a missed one.
        keep: IDs of approved segments, whose voxels are excluded. A vertebra that is segmented
            again takes no voxels from any segment.
    """

    placeRas: tuple[float, float, float] | None = None
    segmentId: str = ""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class VertebraPatch:
    """Voxels of the segmented vertebra.

    Attributes:
        mask: bool (k, j, i).
        grid: Grid of the mask: a part of the volume's grid, in its own RAS.
        firstKji: Index of the mask's first voxel in the whole volume.
        result: Volume, level probabilities, model and other properties.
    """

    mask: np.ndarray
    grid: Grid
    firstKji: tuple[int, int, int]
    result: VertebraResult


class VertebraRun(WorkerRun):
    """Run for one vertebra. Starts at once; see `WorkerRun.follow` and `wait`.

    Attributes:
        patch: The vertebra; None before `Finished`.

    Args:
        volumeNode: The image.
        segmentationNode: Existing vertebrae.
        request: Vertebra to segment.
        temporaryFolder: Folder in which the run folder is created; deleted at the end of the run.
        options: Model, device and modality; quality and region are ignored.

    Raises:
        UserError: If the volume cannot be segmented, the nodes are under different transforms,
            the position is outside the volume, or the vertebra does not exist.
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
        Inputs.checkVoxels(segmentationNode)
        checkSameTransform(volumeNode, segmentationNode)
        WriteMark.check(segmentationNode)
        options = options or RunOptions()
        ids = vertebraIds(segmentationNode)
        extent, device = _extent(volumeNode, segmentationNode, request), deviceOf(options)
        super().__init__(temporaryFolder)
        self.volumeNode, self.request = volumeNode, request
        self.patch: VertebraPatch | None = None
        self._first = (extent[4], extent[2], extent[0])
        self._gridAtStart = gridOf(volumeNode)
        image = VolumeFile(volumeNode, self._folder / "input.nrrd", extent)
        self._grid = image.grid
        labels = labelArray(segmentationNode, ids, image.grid)
        numbers = {segmentId: number for number, segmentId in enumerate(ids, start=1)}
        job = ResegmentJob(
            self._folder / "input.nrrd",
            self._folder / "mask.nrrd",
            self._folder / "box.json",
            labels=self._folder / "there.nrrd",
            point_lps_mm=_lps(request.placeRas),
            replaced_label=numbers[request.segmentId] if request.segmentId else 0,
            locked_labels=tuple(
                numbers[i] for i in request.keep if i in numbers and i != request.segmentId
            ),
            model=options.model,
            device=device,
            modality=options.modality,
        )
        self._site = options.site
        self._start([image, ArrayFile(labels, image.grid, self._folder / "there.nrrd")], job)

    def wait(self) -> VertebraPatch:
        """Wait for the end of the run and return the vertebra; for scripts.

        Raises:
            UserError: Error of the run.
        """
        self.waitForEnd()
        return self.patch

    def _check(self) -> None:
        checkInScene(self.volumeNode)

    def _import(self) -> Iterator[None]:
        image = Segments.readImage(self._job.output, self._grid)
        if not gridOf(self.volumeNode).isSameAs(self._gridAtStart):
            raise UserError(
                _("The input volume was replaced during the run."), _("Segment the vertebra again.")
            )
        yield
        mask = onGrid(image, self._grid) > 0
        result = read_vertebra_result(self._job.result)
        self.patch = VertebraPatch(mask, self._grid, self._first, result)


def setMask(spine: Spine, patch: VertebraPatch, segmentId: str = "", level: str = "") -> SetMask:
    """Return the action that gives a vertebra the voxels of a patch.

    Args:
        spine: Current vertebrae.
        patch: Result of a run.
        segmentId: The vertebra; empty to add one.
        level: Level of a new vertebra; empty for the unused level that fits best.
    """
    title = _("Re-segment") if segmentId else _("Add a vertebra")
    return SetMask(segmentId, _maskOf(spine, patch), level, title)


def _lps(
    placeRas: tuple[float, float, float] | None,
) -> tuple[float, float, float] | None:
    """Return a position in LPS."""
    return None if placeRas is None else (-placeRas[0], -placeRas[1], placeRas[2])


def _maskOf(spine: Spine, patch: VertebraPatch) -> Mask:
    """Return a patch on the grid of the segmentation, which may differ from that of the volume."""
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
    """Return first and last voxels (i, i, j, j, k, k) of the box.

    Raises:
        UserError: If the position is outside the volume, or the vertebra does not exist.
    """
    grid = gridOf(volumeNode)
    low, high = _boundsRas(segmentationNode, request)
    middle = grid.toIjk((low + high) / 2)
    if (middle < -0.5).any() or (middle > np.array(grid.size) - 0.5).any():
        raise UserError(
            _("The position lies outside of {volume}.").format(volume=volumeNode.GetName()),
            _("Click into the body of a vertebra."),
            Code.INPUT_BAD,
        )
    return grid.extentAround(low - _HALF_BOX_MM, high + _HALF_BOX_MM)


def _boundsRas(
    segmentationNode: slicer.vtkMRMLSegmentationNode, request: VertebraRequest
) -> tuple[np.ndarray, np.ndarray]:
    """Return lowest and highest RAS of the position, or of the vertebra to segment again."""
    if request.placeRas is not None:
        return np.array(request.placeRas), np.array(request.placeRas)
    bounds = np.zeros(6)
    segment = segmentationNode.GetSegmentation().GetSegment(request.segmentId)
    if segment is not None:
        segment.GetBounds(bounds)
    if segment is None or bounds[0] > bounds[1]:
        raise UserError(
            _("The vertebra no longer exists."),
            _("Choose a vertebra in the table."),
            Code.INPUT_BAD,
        )
    return bounds[::2], bounds[1::2]
