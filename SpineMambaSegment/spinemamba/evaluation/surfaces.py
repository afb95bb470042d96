"""Distances between the surfaces of two masks, computed by MONAI."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spinemamba.common.errors import Code, UserError

_PERCENTILE = 95


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances between two surfaces; NaN if a mask is empty.

    Attributes:
        hd95_mm: Robust Hausdorff distance: 95th percentile of the distances from one surface to
            the other, the larger of both directions.
        assd_mm: Average symmetric surface distance: mean over all surface voxels of both masks.
    """

    hd95_mm: float
    assd_mm: float


NO_DISTANCE = SurfaceDistance(math.nan, math.nan)


def surface_distance(
    predicted: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float]
) -> SurfaceDistance:
    """Return the distances between the surfaces of two masks.

    The surface of a mask consists of its voxels with a face to the background. The outside of the
    array counts as background, so masks can be cropped to their joint bounding box. If the field
    of view truncates a vertebra, the cut face is part of the surface in both masks.

    Args:
        predicted: Mask, shape (z, y, x).
        truth: Mask of the same shape.
        spacing_mm: Distance between voxel centres along z, y, x.

    Returns:
        The distances; NaN if a mask is empty.

    Raises:
        UserError: If MONAI is not installed (DEPENDENCY_MISSING).
    """
    if not (predicted.any() and truth.any()):
        return NO_DISTANCE
    try:
        from monai.metrics import get_mask_edges, get_surface_distance
    except ImportError as error:
        raise UserError(
            "The Python package monai, which measures surface distances, is not installed.",
            "Install it with pip, or skip surface distances with --no-distances.",
            Code.DEPENDENCY_MISSING,
        ) from error
    edges = [np.asarray(edge, bool) for edge in get_mask_edges(predicted, truth)]
    distances_mm = [
        np.asarray(get_surface_distance(start, end, spacing=spacing_mm), float)
        for start, end in (edges, edges[::-1])
    ]
    hd95_mm = max(float(np.percentile(d, _PERCENTILE)) for d in distances_mm)
    return SurfaceDistance(hd95_mm, float(np.concatenate(distances_mm).mean()))
