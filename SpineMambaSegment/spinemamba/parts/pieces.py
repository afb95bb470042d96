"""Join loose pieces of a part with the part next to them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def join_loose_pieces(parts: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the parts with each in one piece, as far as the vertebra itself is.

    Voxels outside the largest piece of their part get the part of the nearest voxel that is in one.

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
    nearest = ndimage.distance_transform_edt(
        ~kept, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    out = parts.copy()
    out[loose] = parts[tuple(nearest[:, loose])]
    return out
