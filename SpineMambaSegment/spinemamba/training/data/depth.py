"""How deep a voxel lies in its vertebra: what cortex and partial volume are painted by."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from spinemamba.imaging.volume import Volume

UNITS_PER_MM = 16
"""Depths are kept as int8 in sixteenths of a millimetre; 7.9 mm is as deep as any cortex needs."""

REACH_MM = 127 / UNITS_PER_MM


def bone_depth_mm(labels: Volume) -> np.ndarray:
    """Return the signed distance to the surface of the voxel's own vertebra.

    Where two vertebrae touch there is surface too: a closed facet joint keeps its bright line.

    Args:
        labels: Label values, (z, y, x).

    Returns:
        float32 in mm, positive inside, clipped to `REACH_MM`, the shape of ``labels``. A voxel at
        the surface has half its smallest side.
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
        own = array[grown] == value
        # A vertebra that the image cuts has no surface there.
        inside = ndimage.distance_transform_edt(np.pad(own, 1, mode="edge"), labels.spacing_mm)
        depth[grown][own] = inside[1:-1, 1:-1, 1:-1][own] - half_mm
    return np.clip(depth, -REACH_MM, REACH_MM)


def pack_depth(depth_mm: np.ndarray) -> np.ndarray:
    """Return depths as int8 in units of 1 / `UNITS_PER_MM` mm."""
    return np.round(np.clip(depth_mm, -REACH_MM, REACH_MM) * UNITS_PER_MM).astype(np.int8)
