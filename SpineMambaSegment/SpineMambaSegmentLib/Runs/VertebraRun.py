"""One vertebra in a box around a place: volume and segments -> worker -> voxels of the vertebra.

Nothing in the scene changes: who asked gets a `BoxPatch`, and does with it what can be undone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.job import BoxJob
from spinemamba.protocol.vertebra_result import VertebraResult, read_vertebra_result
from SpineMambaSegmentLib.Runs.SegmentRun import RunOptions, checkInScene
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene import Inputs, Segments
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf
from SpineMambaSegmentLib.Scene.LabelArray import labelArray, onGrid, vertebraIds
from SpineMambaSegmentLib.Scene.LazyImport import tool
from SpineMambaSegmentLib.Scene.VolumeFile import ArrayFile, Extent, VolumeFile

REACH_MM = np.array([80.0, 100.0, 70.0])
"""Along R, A and S, from a place in a body: the worker looks no further."""


@dataclass(frozen=True)
class BoxWish:
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
class BoxPatch:
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
    result: VertebraResult


class BoxRun(WorkerRun):
    """Starts at once; ``newEvents`` must then be called until `Finished` or `Failed` came.

    Attributes:
        patch: The vertebra; None until `Finished` came.

    Args:
        volumeNode: The image.
        segmentationNode: What is there; under the same transform as the volume.
        wish: Which vertebra.
        temporaryFolder: The run folder is made in here, and deleted when the run ends.
        options: What the user chose; quality and region do not matter.

    Raises:
        UserError: If the volume cannot be segmented, or the place or the vertebra is not there.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        wish: BoxWish,
        temporaryFolder: Path,
        options: RunOptions | None = None,
    ):
        Inputs.checkVolume(volumeNode)
        Inputs.checkSegmentation(segmentationNode)
        options = options or RunOptions()
        ids = vertebraIds(segmentationNode)
        extent = _extent(volumeNode, segmentationNode, wish)
        super().__init__(temporaryFolder)
        self.volumeNode, self.wish = volumeNode, wish
        self.patch: BoxPatch | None = None
        self._first = (extent[4], extent[2], extent[0])
        self._gridAtStart = gridOf(volumeNode)
        image = VolumeFile(volumeNode, self._folder / "input.nrrd", extent)
        self._grid = image.grid
        there = labelArray(segmentationNode, ids, image.grid)
        numbers = {segmentId: number for number, segmentId in enumerate(ids, start=1)}
        place = wish.placeRas
        job = BoxJob(
            self._folder / "input.nrrd",
            self._folder / "mask.nrrd",
            self._folder / "box.json",
            labels=self._folder / "there.nrrd",
            place_lps_mm=None if place is None else (-place[0], -place[1], place[2]),
            again=numbers[wish.segmentId] if wish.segmentId else 0,
            keep=tuple(numbers[i] for i in wish.keep if i in numbers and i != wish.segmentId),
            model=options.model,
            device=options.device,
            modality=options.modality,
        )
        self._start([image, ArrayFile(there, image.grid, self._folder / "there.nrrd")], job)

    def wait(self) -> BoxPatch:
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
        self.patch = BoxPatch(mask, self._grid, self._first, read_vertebra_result(self._job.result))


def withVertebra(
    labels: np.ndarray, patch: BoxPatch, number: int, keep: Collection[int] = ()
) -> np.ndarray:
    """Return the labels of a whole volume with a vertebra where a patch says.

    Args:
        labels: Numbers on the voxels of the volume (k, j, i); not changed.
        patch: What a run in a box found.
        number: The vertebra's; where it is now and the patch is not, 0 comes.
        keep: Numbers whose voxels stay what they are.

    Raises:
        ValueError: If the vertebra itself shall be kept.
    """
    mask = np.zeros(labels.shape, bool)
    box = tuple(slice(f, f + n) for f, n in zip(patch.firstKji, patch.mask.shape, strict=True))
    mask[box] = patch.mask
    return tool("imaging.masks").merge_mask(labels, mask, number, keep)


def _extent(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    wish: BoxWish,
) -> Extent:
    """Return the voxels (i, i, j, j, k, k) that matter.

    Raises:
        UserError: If the place is not in the volume, or the vertebra is not there.
    """
    grid = gridOf(volumeNode)
    low, high = _boundsRas(segmentationNode, wish)
    middle = grid.toIjk((low + high) / 2)
    if (middle < -0.5).any() or (middle > np.array(grid.size) - 0.5).any():
        raise UserError(
            _("The place lies outside of {volume}.").format(volume=volumeNode.GetName()),
            _("Click into the body of a vertebra."),
            Code.INPUT_BAD,
        )
    return grid.extentAround(low - REACH_MM, high + REACH_MM)


def _boundsRas(
    segmentationNode: slicer.vtkMRMLSegmentationNode, wish: BoxWish
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest RAS of the place, or of the vertebra that is to be replaced."""
    if wish.placeRas is not None:
        return np.array(wish.placeRas), np.array(wish.placeRas)
    bounds = np.zeros(6)
    segment = segmentationNode.GetSegmentation().GetSegment(wish.segmentId)
    if segment is not None:
        segment.GetBounds(bounds)
    if segment is None or bounds[0] > bounds[1]:
        raise UserError(
            _("The vertebra is not there any more."),
            _("Choose a vertebra in the table."),
            Code.INPUT_BAD,
        )
    return bounds[::2], bounds[1::2]
