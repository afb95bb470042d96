"""Voxels of vertebrae: where they lie, and how to cut, join and mend them.

Arrays are bool or labels in (k, j, i), which is (z, y, x) of the grid they come from. numpy and
scipy only: Slicer's own process uses this too, and torch must not come into it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from scipy import ndimage

Box = tuple[slice, slice, slice]


def boxes_of(labels: np.ndarray) -> dict[int, Box]:
    """Return the box around the voxels of each label that is there."""
    found = enumerate(ndimage.find_objects(labels), start=1)
    return {value: box for value, box in found if box is not None}


def pieces_of(inside: np.ndarray, *, by_corners: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the pieces of a mask, and their voxel counts.

    Args:
        inside: The mask, bool.
        by_corners: Voxels hang together if they share a face, an edge or a corner (connectivity 26)
            and not only a face (6). So pieces are counted for flags: what touches at a corner is no
            loose piece. Tools that edit, and the surfaces of exported meshes, go by faces.

    Returns:
        Numbers of the pieces, 0 outside, int32; and the counts of pieces 1, 2, ...
    """
    pieces, count = ndimage.label(inside, np.ones((3, 3, 3)) if by_corners else None)
    return pieces, np.bincount(pieces.ravel(), minlength=count + 1)[1:]


def grow_labels(labels: np.ndarray, reach_vox: int) -> np.ndarray:
    """Return labels grown into what is 0, each voxel by the nearest label within a distance.

    Where two labels are equally near, one of them wins.
    """
    padded = np.pad(labels, reach_vox)
    inside = padded > 0
    # The label that is nearest to a voxel ends there: only such voxels need to be looked at.
    ends = inside & ~ndimage.binary_erosion(inside)
    at, inside, grown = np.flatnonzero(ends), inside.ravel(), padded.ravel()
    values = grown[at]
    strides = np.array(padded.strides) // padded.itemsize
    steps = np.argwhere(np.ones((2 * reach_vox + 1,) * labels.ndim)) - reach_vox
    squared = (steps**2).sum(axis=1)
    # The nearest come last, and stay.
    for step in np.argsort(-squared, kind="stable")[(squared > reach_vox**2).sum() :]:
        places = at + steps[step] @ strides
        free = ~inside[places]
        grown[places[free]] = values[free]
    return padded[(slice(reach_vox, -reach_vox),) * labels.ndim].copy()


def without_islands(inside: np.ndarray) -> np.ndarray:
    """Return the largest piece of a mask."""
    pieces, counts = pieces_of(inside)
    if len(counts) < 2:
        return inside.copy()
    return pieces == int(counts.argmax()) + 1


def without_holes(inside: np.ndarray) -> np.ndarray:
    """Return a mask with what it encloses on all sides; the canal is open and stays so."""
    return ndimage.binary_fill_holes(inside)


def above_plane(inside: np.ndarray, point: Sequence[float], normal: Sequence[float]) -> np.ndarray:
    """Return the voxels of a mask on the side of a plane that its normal points to.

    Args:
        inside: The mask, (k, j, i).
        point: A place in the plane, as k, j, i of the array.
        normal: Gradient of the height above the plane along k, j, i.
    """
    height = np.zeros(inside.shape, np.float32)
    for axis, (start, step) in enumerate(zip(point, normal, strict=True)):
        line = (np.arange(inside.shape[axis], dtype=np.float32) - start) * step
        height += line.reshape([-1 if a == axis else 1 for a in range(3)])
    return inside & (height >= 0)


BODY_POWER = 3
"""Arches are thin: depth to this power leaves the body alone."""

COARSE_MM = 2.0


def body_centre(inside: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Return the middle of the thickest part of a vertebra, its body, as k, j, i.

    Args:
        inside: Mask of one vertebra, not empty.
        spacing_mm: Voxel size along k, j, i.
    """
    steps = [max(1, round(COARSE_MM / s)) for s in spacing_mm]
    small = inside[:: steps[0], :: steps[1], :: steps[2]]
    if not small.any():
        return np.argwhere(inside).mean(axis=0)
    small_mm = [s * n for s, n in zip(spacing_mm, steps, strict=True)]
    depth = ndimage.distance_transform_edt(np.pad(small, 1), small_mm)[1:-1, 1:-1, 1:-1]
    at = np.argwhere(small)
    weights = depth[small] ** BODY_POWER
    return np.average(at, axis=0, weights=weights) * steps


def with_vertebra(
    labels: np.ndarray, mask: np.ndarray, value: int, keep: Collection[int] = ()
) -> np.ndarray:
    """Return label values in which a vertebra is where a mask says.

    Args:
        labels: Label values, any shape.
        mask: Where the vertebra is, bool, the same shape.
        value: Its value; voxels that have it now and lie outside of the mask become 0.
        keep: Values whose voxels stay what they are.

    Returns:
        A copy of ``labels``.

    Raises:
        ValueError: If the vertebra itself shall be kept.
    """
    if value in keep:
        raise ValueError(f"the vertebra of the value {value} shall be kept as it is")
    out = labels.copy()
    out[labels == value] = 0
    out[mask & ~np.isin(labels, list(keep))] = value
    return out


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Return 2 |A and B| / (|A| + |B|), in [0, 1]; NaN if both masks are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else math.nan
