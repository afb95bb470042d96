"""Actions that change the voxels of vertebrae."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from SpineMambaSegmentLib.Review.Mask import Mask, around
from SpineMambaSegmentLib.Review.Spine import Edit, Spine
from SpineMambaSegmentLib.Scene.LazyImport import tool
from SpineMambaSegmentLib.Scene.Straightened import volumeOf

Position = tuple[float, float, float]


@dataclass(frozen=True)
class SplitBySeeds:
    """Split a segment that contains two vertebrae, by a seed in each.

    Attributes:
        segmentId: The segment; it keeps the part of the upper seed.
        seedsRas: A position in each vertebra, in the segmentation's own RAS.
        level: Level of the new vertebra; empty for the nearest unused one.
    """

    segmentId: str
    seedsRas: tuple[Position, Position]
    level: str = ""

    title = _("Split in two by seeds")

    def edit(self, spine: Spine) -> Edit:
        """Return the masks of both parts."""
        mask = _maskOf(spine, self.segmentId)
        # Upper seed first; the order of the clicks does not matter.
        seeds = sorted(self.seedsRas, key=lambda position: -position[2])
        ends = [(s.start, s.stop - 1) for s in reversed(mask.box)]
        grid = spine.grid.cut(tuple(end for pair in ends for end in pair))
        lps = np.array(seeds) * [-1, -1, 1]
        parts = tool("editing.split").split_by_seeds(volumeOf(mask.array(), grid), lps)
        return _halves(spine, self, parts == 1, parts == 2)


@dataclass(frozen=True)
class SplitByPlane:
    """Split a segment that contains two vertebrae by a plane.

    Attributes:
        segmentId: The segment; it keeps the upper part.
        pointRas: A position in the plane, in the segmentation's own RAS.
        normalRas: Normal of the plane.
        level: Level of the new vertebra; empty for the nearest unused one.
    """

    segmentId: str
    pointRas: Position
    normalRas: Position
    level: str = ""

    title = _("Split in two by a plane")

    def edit(self, spine: Spine) -> Edit:
        """Return the masks of both parts."""
        mask = _maskOf(spine, self.segmentId)
        up = np.array(self.normalRas) * (1 if self.normalRas[2] >= 0 else -1)
        gradient = (up @ spine.grid.ijkToRas[:3, :3])[::-1]
        inside = mask.array()
        point = spine.toKji(self.pointRas) - mask.first
        upper = tool("imaging.masks").above_plane(inside, point, gradient)
        return _halves(spine, self, upper, inside & ~upper)


@dataclass(frozen=True)
class Merge:
    """Merge fragments into one vertebra; the first keeps its name and ID."""

    segmentIds: tuple[str, ...]

    title = _("Merge")

    def edit(self, spine: Spine) -> Edit:
        """Return the union of the masks."""
        if len(set(self.segmentIds)) < 2:
            raise UserError(
                _("One vertebra alone cannot be merged."), _("Select two or more rows.")
            )
        masks = [_maskOf(spine, segmentId) for segmentId in self.segmentIds]
        box = around([mask.box for mask in masks])
        inside = np.any([mask.inBox(box) for mask in masks], axis=0)
        union = Mask.of(inside, [span.start for span in box])
        return Edit(masks={self.segmentIds[0]: union}, removed=self.segmentIds[1:])


@dataclass(frozen=True)
class Delete:
    """Delete vertebrae."""

    segmentIds: tuple[str, ...]

    title = _("Delete")

    def edit(self, spine: Spine) -> Edit:
        """Return the segments to remove."""
        for segmentId in self.segmentIds:
            spine.indexOf(segmentId)
        return Edit(removed=self.segmentIds)


@dataclass(frozen=True)
class RemoveIslands:
    """Keep only the largest component of some vertebrae."""

    segmentIds: tuple[str, ...]

    title = _("Remove islands")

    def edit(self, spine: Spine) -> Edit:
        """Return the largest components."""
        return _each(spine, self.segmentIds, tool("imaging.masks").without_islands)


@dataclass(frozen=True)
class FillHoles:
    """Fill the holes of some vertebrae."""

    segmentIds: tuple[str, ...]

    title = _("Fill holes")

    def edit(self, spine: Spine) -> Edit:
        """Return the masks without holes."""
        return _each(spine, self.segmentIds, tool("imaging.masks").without_holes)


@dataclass(frozen=True)
class SetMask:
    """Replace the voxels of a vertebra, or add a vertebra.

    Attributes:
        segmentId: The vertebra; empty to add one.
        mask: All its voxels on the grid of the segmentation.
        level: Level of a new vertebra; empty for the nearest unused one.
        title: Title of the step.
    """

    segmentId: str
    mask: Mask
    level: str = ""
    title: str = _("Add a vertebra")

    def edit(self, spine: Spine) -> Edit:
        """Return the new mask, and the level of a new vertebra."""
        if not self.mask.count():
            raise UserError(
                _("No bone was found there."), _("Click into the middle of the vertebra.")
            )
        if self.segmentId:
            return Edit(masks={self.segmentId: self.mask})
        level = self.level or _levelAt(spine, self.mask)
        segmentId = spine.newId(level)
        return Edit(masks={segmentId: self.mask}, levels={segmentId: level})


def _levelAt(spine: Spine, mask: Mask) -> str:
    """Return the unused level that fits best to the position of a new vertebra."""
    height = spine.toRas(mask.mean())[2]
    above = sum(bool(spine.centerRas(i)[2] > height) for i in spine.ids)
    return spine.freeLevel(above)


def _maskOf(spine: Spine, segmentId: str) -> Mask:
    spine.indexOf(segmentId)
    return spine.states[segmentId].mask


def _halves(
    spine: Spine, action: SplitBySeeds | SplitByPlane, upper: np.ndarray, lower: np.ndarray
) -> Edit:
    if not upper.any() or not lower.any():
        raise UserError(
            _("The whole vertebra lies on one side."),
            _("Click into both vertebrae, or move the plane."),
        )
    first = spine.states[action.segmentId].mask.first
    level = action.level or spine.freeLevel(spine.indexOf(action.segmentId) + 1)
    newId = spine.newId(level)
    return Edit(
        masks={action.segmentId: Mask.of(upper, first), newId: Mask.of(lower, first)},
        levels={newId: level},
    )


def _each(
    spine: Spine, segmentIds: tuple[str, ...], change: Callable[[np.ndarray], np.ndarray]
) -> Edit:
    masks = {}
    for segmentId in segmentIds:
        mask = _maskOf(spine, segmentId)
        new = Mask.of(change(mask.array()), mask.first)
        if new != mask:
            masks[segmentId] = new
    return Edit(masks=masks)
