"""From what a run in a box found to a step of review that can be taken back. No Qt."""

from __future__ import annotations

import numpy as np
from slicer.i18n import tr as _

from SpineMambaSegmentLib.Review.Mask import Mask
from SpineMambaSegmentLib.Review.ShapeActions import SetMask
from SpineMambaSegmentLib.Review.Spine import Spine
from SpineMambaSegmentLib.Runs.VertebraRun import BoxPatch
from SpineMambaSegmentLib.Scene.LabelArray import imageOf, onGrid


def setMask(spine: Spine, patch: BoxPatch, segmentId: str = "", level: str = "") -> SetMask:
    """Return the step that gives a vertebra the voxels of a patch.

    Args:
        spine: The vertebrae as they are now.
        patch: What a run in a box found.
        segmentId: The vertebra; empty for a new one.
        level: Level of a new one; empty for the free one that fits best to its place.
    """
    title = _("Find again") if segmentId else _("Add a vertebra")
    return SetMask(segmentId, maskOf(spine, patch), level, title)


def maskOf(spine: Spine, patch: BoxPatch) -> Mask:
    """Return a patch on the lattice of the segmentation, which need not be the volume's."""
    ijk = spine.grid.toIjk(patch.grid.corners())
    first = np.floor(ijk.min(axis=0) + 1e-4).astype(int)
    last = np.ceil(ijk.max(axis=0) - 1e-4).astype(int)
    part = spine.grid.cut(tuple(int(n) for pair in zip(first, last, strict=True) for n in pair))
    inside = onGrid(imageOf(patch.mask.astype(np.uint8), patch.grid), part) > 0
    return Mask.of(inside, tuple(int(n) for n in first[::-1]))
