"""Join loose pieces of a part with the part next to them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def join_loose_pieces(parts: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the parts with each in one piece, as far as the vertebra itself is.

    Voxels outside the largest piece of their part join a piece that they touch, else the nearest.

    Args:
        parts: Values of parts, 0 outside, (z, y, x).
        spacing_mm: Voxel spacing along z, y, x.
    """
    kept = np.zeros(parts.shape, bool)
    for value, box in enumerate(ndimage.find_objects(parts), start=1):
        if box is None:
            continue
        # Shells a voxel thick are connected along edges and corners of voxels.
        pieces, count = ndimage.label(parts[box] == value, np.ones((3, 3, 3)))
        largest = 1 if count == 1 else int(np.bincount(pieces.ravel())[1:].argmax()) + 1
        kept[box] |= pieces == largest
    loose = (parts > 0) & ~kept
    if not loose.any():
        return parts
    out = parts.copy()
    rest = _grow(out, kept, np.argwhere(loose), np.asarray(spacing_mm))
    if len(rest):
        nearest = ndimage.distance_transform_edt(
            ~kept, sampling=spacing_mm, return_distances=False, return_indices=True
        )
        place = tuple(rest.T)
        out[place] = out[tuple(nearest[(slice(None), *place)])]
    return out


def _grow(
    out: np.ndarray, kept: np.ndarray, index: np.ndarray, spacing_mm: np.ndarray
) -> np.ndarray:
    """Give voxels the part of a neighbour in one of the kept pieces, layer by layer, in place.

    Args:
        out: Values of parts.
        kept: Which voxels have their part for good; grows.
        index: The other voxels, (n, 3).
        spacing_mm: Voxel spacing.

    Returns:
        The voxels that no kept piece touches, (m, 3).
    """
    offsets = np.array([o for o in np.ndindex(3, 3, 3) if o != (1, 1, 1)]) - 1
    offsets = offsets[np.argsort(np.linalg.norm(offsets * spacing_mm, axis=1), kind="stable")]
    while len(index):
        values = np.zeros(len(index), out.dtype)
        for offset in offsets:
            there = index + offset
            inside = ((there >= 0) & (there < out.shape)).all(axis=1) & (values == 0)
            rows = np.flatnonzero(inside)
            place = tuple(there[rows].T)
            values[rows] = np.where(kept[place], out[place], 0)
        done = values > 0
        if not done.any():
            break
        place = tuple(index[done].T)
        out[place], kept[place] = values[done], True
        index = index[~done]
    return index
