"""Depth of voxels in bone: signed distances to its surface."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from spinemamba.imaging.volume import Volume

UNITS_PER_MM = 16
"""Depths are stored as int8 in units of 1/16 mm, up to 7.9 mm; cortex is thinner than that."""

REACH_MM = 127 / UNITS_PER_MM
"""Depths are clipped to plus and minus this distance."""


def bone_depth_mm(labels: Volume) -> np.ndarray:
    """Return the signed distance of each voxel to the surface of its vertebra.

    The interface of two touching vertebrae is also a surface, so that a closed facet joint keeps
    its bright line.

    Args:
        labels: Label values, (z, y, x).

    Returns:
        float32 in mm, positive inside, clipped to `REACH_MM`, the shape of ``labels``. Voxels at
        the surface have half of the smallest voxel spacing.
    """
    array = labels.array
    depth = np.full(array.shape, -REACH_MM, np.float32)
    if not array.any():
        return depth
    half_mm = min(labels.spacing_mm) / 2
    margin = [int(np.ceil(REACH_MM / s)) + 1 for s in labels.spacing_mm]
    box = ndimage.find_objects((array > 0).astype(np.uint8))[0]
    around = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margin, strict=True))
    outside = ndimage.distance_transform_edt(array[around] == 0, labels.spacing_mm)
    depth[around] = half_mm - outside
    for value, part in enumerate(ndimage.find_objects(array), start=1):
        if part is None:
            continue
        grown = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in part)
        mask = array[grown] == value
        # The border of the image that truncates a vertebra is not a surface.
        inside = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"), labels.spacing_mm)
        depth[grown][mask] = inside[1:-1, 1:-1, 1:-1][mask] - half_mm
    return np.clip(depth, -REACH_MM, REACH_MM)


def pack_depth(depth_mm: np.ndarray) -> np.ndarray:
    """Return depths as int8 in units of 1 / `UNITS_PER_MM` mm."""
    return np.round(np.clip(depth_mm, -REACH_MM, REACH_MM) * UNITS_PER_MM).astype(np.int8)
