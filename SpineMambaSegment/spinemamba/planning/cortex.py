"""Distance from inner to inner cortex across a pedicle, where a CT shows it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from spinemamba.imaging.volume import Volume
from spinemamba.parts.bone_field import BoneField
from spinemamba.parts.sections import Tube

_LEAST_CONTRAST_HU = 120.0
"""Smallest difference of cortex and inside at which an inner border can be said to be seen."""

_STEP_MM = 0.1
_BAND = 0.25
"""Profiles are averaged over this share of the other diameter."""

_ALONG_MM = 1.0
_EDGE_SHARE = 0.5
"""The cortex is searched within this share of the radius below the surface."""

_LEAST_VOXELS = 2.5
"""Smallest inner diameter in voxels that can be told from the blur of the image."""

NOT_SHOWN = "the CT does not resolve the inner cortex"


def inner_mm(ct: Volume, field: BoneField, tube: Tube, axis: int) -> float | None:
    """Return the inner diameter; None if the CT does not show it.

    The inner border of each side is where the mean profile across the pedicle passes half way from
    the peak of the cortex to the level inside.

    Args:
        ct: CT on the grid of the labels.
        field: The vertebra.
        tube: Its pedicle.
        axis: 0 across, for the width; 1 up, for the height.
    """
    across = tube.line.across()
    size, other = (tube.width_mm, tube.height_mm) if axis == 0 else (tube.height_mm, tube.width_mm)
    ticks = np.arange(-0.5 * size - 1.0, 0.5 * size + 1.0, _STEP_MM)
    aside = np.linspace(-_BAND, _BAND, 7) * other
    along = np.linspace(-_ALONG_MM, _ALONG_MM, 5)
    points = (
        tube.line.at(along)[:, None, None]
        + aside[None, :, None, None] * across[1 - axis]
        + ticks[None, None, :, None] * across[axis]
    )
    index = np.moveaxis(ct.geometry.to_index_zyx(field.frame.to_lps(points)), -1, 0)
    profile = ndimage.map_coordinates(
        ct.array.astype(np.float32, copy=False), index, order=1, mode="nearest"
    ).mean(axis=(0, 1))
    voxel_mm = _voxel_mm(ct, field, across[axis])
    ends = [_inner_edge(profile[::sign], ticks, size) for sign in (1, -1)]
    if None in ends:
        return None
    inner = -ends[0] - ends[1]
    return inner if inner >= _LEAST_VOXELS * voxel_mm else None


def _inner_edge(profile: np.ndarray, ticks: np.ndarray, size: float) -> float | None:
    """Return where the cortex at the start of a profile ends; None if it is not seen."""
    outer = np.flatnonzero(
        np.abs(ticks + 0.5 * size * (1 - _EDGE_SHARE / 2)) < _EDGE_SHARE * size / 4 + 0.5
    )
    peak = outer[int(np.argmax(profile[outer]))]
    middle = len(ticks) // 2
    if peak >= middle:
        return None
    level = float(profile[peak : middle + max(2, len(ticks) // 8)].min())
    if profile[peak] - level < _LEAST_CONTRAST_HU:
        return None
    half = (profile[peak] + level) / 2
    below = np.flatnonzero(profile[peak:] < half)
    k = peak + int(below[0])
    share = (profile[k - 1] - half) / max(float(profile[k - 1] - profile[k]), 1e-6)
    return float(ticks[k - 1] + share * _STEP_MM)


def _voxel_mm(ct: Volume, field: BoneField, direction: np.ndarray) -> float:
    world = direction @ field.frame.axes_lps
    parts = np.abs(np.asarray(ct.geometry.direction_lps).T @ world)[::-1]
    return float(parts @ np.asarray(ct.geometry.spacing_mm))
