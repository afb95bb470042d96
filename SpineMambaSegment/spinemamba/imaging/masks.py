"""Operations on masks and label maps.

Arrays are bool or label values, indexed (k, j, i), the (z, y, x) axes of their grid. This module
needs only numpy and scipy, because Slicer's process imports it and must not load torch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from scipy import ndimage

from spinemamba.imaging.volume import Box


def boxes_of(labels: np.ndarray) -> dict[int, Box]:
    """Return the bounding box of each label."""
    boxes = enumerate(ndimage.find_objects(labels), start=1)
    return {value: box for value, box in boxes if box is not None}


def pieces_of(inside: np.ndarray, *, by_corners: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the connected components of a mask, and their voxel counts.

    Args:
        inside: The mask, bool.
        by_corners: Use 26-connectivity (faces, edges and corners) instead of 6-connectivity
            (faces). Flags use 26: a piece that touches at a corner is not loose. Editing tools and
            surfaces of exported meshes use 6.

    Returns:
        Component numbers, 0 outside, int32; and the counts of components 1, 2, ...
    """
    pieces, count = ndimage.label(inside, np.ones((3, 3, 3)) if by_corners else None)
    return pieces, np.bincount(pieces.ravel(), minlength=count + 1)[1:]


def grow_labels(labels: np.ndarray, reach_vox: int) -> np.ndarray:
    """Dilate labels into the background; each voxel gets the nearest label within a distance.

    Ties are resolved arbitrarily but reproducibly.

    Args:
        labels: Label values, any dimension.
        reach_vox: Largest distance.
    """
    padded = np.pad(labels, reach_vox)
    inside = padded > 0
    # The nearest voxel of a label lies on its surface, so that only surface voxels are dilated.
    surface = inside & ~ndimage.binary_erosion(inside)
    at, inside, grown = np.flatnonzero(surface), inside.ravel(), padded.ravel()
    values = grown[at]
    strides = np.array(padded.strides) // padded.itemsize
    steps = np.argwhere(np.ones((2 * reach_vox + 1,) * labels.ndim)) - reach_vox
    squared = (steps**2).sum(axis=1)
    # Steps are applied from far to near, so that the nearest label overwrites others.
    for step in np.argsort(-squared, kind="stable")[(squared > reach_vox**2).sum() :]:
        places = at + steps[step] @ strides
        free = ~inside[places]
        grown[places[free]] = values[free]
    return padded[(slice(reach_vox, -reach_vox),) * labels.ndim].copy()


def without_islands(inside: np.ndarray) -> np.ndarray:
    """Return the largest component of a mask (6-connectivity)."""
    pieces, counts = pieces_of(inside)
    if len(counts) < 2:
        return inside.copy()
    return pieces == int(counts.argmax()) + 1


def without_holes(inside: np.ndarray) -> np.ndarray:
    """Fill cavities that a mask encloses on all sides. The spinal canal is open and stays so."""
    return ndimage.binary_fill_holes(inside)


def above_plane(inside: np.ndarray, point: Sequence[float], normal: Sequence[float]) -> np.ndarray:
    """Return the voxels of a mask on the positive side of a plane.

    Args:
        inside: The mask, (k, j, i).
        point: A point in the plane, array indices k, j, i.
        normal: Gradient of the height above the plane along k, j, i.
    """
    height = np.zeros(inside.shape, np.float32)
    for axis, (start, step) in enumerate(zip(point, normal, strict=True)):
        line = (np.arange(inside.shape[axis], dtype=np.float32) - start) * step
        height += line.reshape([-1 if a == axis else 1 for a in range(3)])
    return inside & (height >= 0)


BODY_DEPTH_POWER = 3
"""Exponent of the depth in weights of voxels: arches have a third of a body's depth, so 1/27 of its
weight."""

_COARSE_MM = 2.0


def body_centre(inside: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Return the centre of the thickest part of a vertebra, its body, as k, j, i.

    Args:
        inside: Mask of one vertebra, not empty.
        spacing_mm: Voxel size along k, j, i.
    """
    steps = [max(1, round(_COARSE_MM / s)) for s in spacing_mm]
    small = inside[:: steps[0], :: steps[1], :: steps[2]]
    if not small.any():
        return np.argwhere(inside).mean(axis=0)
    small_mm = [s * n for s, n in zip(spacing_mm, steps, strict=True)]
    depth = ndimage.distance_transform_edt(np.pad(small, 1), small_mm)[1:-1, 1:-1, 1:-1]
    at = np.argwhere(small)
    weights = depth[small] ** BODY_DEPTH_POWER
    return np.average(at, axis=0, weights=weights) * steps


def merge_mask(
    labels: np.ndarray, mask: np.ndarray, value: int, keep: Collection[int] = ()
) -> np.ndarray:
    """Replace one vertebra in a label map by a mask.

    Args:
        labels: Label values, any shape.
        mask: New mask of the vertebra, bool, same shape.
        value: Label value of the vertebra. Its voxels outside of the mask become 0.
        keep: Label values that are not overwritten.

    Returns:
        A copy of ``labels``.

    Raises:
        ValueError: If ``value`` is in ``keep``.
    """
    if value in keep:
        raise ValueError(f"the vertebra with the value {value} cannot be replaced and kept")
    out = labels.copy()
    out[labels == value] = 0
    out[mask & ~np.isin(labels, list(keep))] = value
    return out


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Dice coefficient 2 |A and B| / (|A| + |B|); NaN if both masks are empty."""
    return dice_of_counts(int((a & b).sum()), int(a.sum()), int(b.sum()))


def dice_of_counts(common: int, first: int, second: int) -> float:
    """Return the Dice coefficient of two sets, given their sizes; NaN if both are empty.

    Args:
        common: Number of voxels in both sets.
        first: Number of voxels of the first set.
        second: Number of voxels of the second set.
    """
    total = first + second
    return 2 * common / total if total else math.nan
