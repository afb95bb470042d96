"""Distances between the surfaces of two masks, measured by MONAI."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spinemamba.common.errors import Code, UserError

PERCENTILE = 95


@dataclass(frozen=True)
class SurfaceDistance:
    """How far two surfaces are apart; NaN where one of them does not exist.

    Attributes:
        hd95_mm: Hausdorff distance without the 5 % worst: the 95th percentile of the distances
            from each surface to the other, the larger of both.
        assd_mm: Average symmetric surface distance: mean over all surface voxels of both masks.
    """

    hd95_mm: float
    assd_mm: float


NO_DISTANCE = SurfaceDistance(math.nan, math.nan)


def surface_distance(
    found: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float]
) -> SurfaceDistance:
    """Return the distances between the surfaces of two masks.

    A surface are the voxels of a mask with a face to what is outside of it. The edge of the
    array is outside: hand over masks cut to the box around both, as nothing farther matters.
    Where the image cuts a vertebra, the cut face is a part of its surface in both masks.

    Args:
        found: Mask, shape (z, y, x).
        truth: Mask of the same shape.
        spacing_mm: Distance between voxel centres along z, y, x.

    Returns:
        The distances; NaN if a mask is empty, because no distance to nothing is a fair one.

    Raises:
        UserError: If MONAI is not installed (DEPENDENCY_MISSING).
    """
    if not (found.any() and truth.any()):
        return NO_DISTANCE
    try:
        from monai.metrics import get_mask_edges, get_surface_distance
    except ImportError as error:
        raise UserError(
            "The Python package monai, which measures surface distances, is not installed.",
            "Install it with pip, or do without with --no-distances.",
            Code.DEPENDENCY_MISSING,
        ) from error
    edges = [np.asarray(edge, bool) for edge in get_mask_edges(found, truth)]
    ways_mm = [
        np.asarray(get_surface_distance(start, end, spacing=spacing_mm), float)
        for start, end in (edges, edges[::-1])
    ]
    hd95_mm = max(float(np.percentile(way, PERCENTILE)) for way in ways_mm)
    return SurfaceDistance(hd95_mm, float(np.concatenate(ways_mm).mean()))
