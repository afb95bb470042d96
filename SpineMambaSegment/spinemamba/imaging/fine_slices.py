"""Subdivide thick slices, so that labels and surfaces follow the networks between them.

The fine network works at 1.5 mm. Labels on slices of 4 mm keep one row of its output in three,
and surfaces must guess the rest.
"""

from __future__ import annotations

import math

import numpy as np

from spinemamba.imaging.resample import resample_box
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.protocol.job import FINE_MM


def with_fine_slices(volume: Volume, most_mm: float = FINE_MM) -> Volume:
    """Return an image whose voxels are at most this large along every axis.

    Thick slices are replaced by an odd number of thinner ones, interpolated linearly; the slices
    of the input remain in the middle of theirs. Nothing is interpolated between data and a slice
    of a single value, which is padding.

    Args:
        volume: Image in any orientation.
        most_mm: Greatest voxel size.

    Returns:
        The image with the data type of the input; the input itself if no slice is thick.
    """
    for axis, step_mm in enumerate(volume.spacing_mm):
        count = math.ceil(step_mm / most_mm - 1e-6)
        if count > 1:
            volume = _subdivided(volume, axis, count + 1 - count % 2)
    return volume


def _subdivided(volume: Volume, axis: int, count: int) -> Volume:
    """Return an image with ``count`` slices for one along an axis; ``count`` is odd."""
    old = volume.geometry
    shape, spacing_mm = list(old.shape), list(old.spacing_mm)
    shape[axis] *= count
    spacing_mm[axis] /= count
    first = np.zeros(3)
    first[axis] = (1 / count - 1) / 2
    origin = tuple(map(float, old.to_lps_mm(first)))
    geometry = Geometry(tuple(shape), tuple(spacing_mm), origin, old.direction_lps)
    values = np.moveaxis(resample_box(volume.array, old, geometry), axis, 0)
    slices = np.moveaxis(volume.array, axis, 0)
    flat = np.array([bool((part == part.flat[0]).all()) for part in slices])
    for k in np.flatnonzero(flat[1:] != flat[:-1]):
        middle = k * count + count // 2
        values[middle : middle + count // 2 + 1] = slices[k]
        values[middle + count // 2 + 1 : middle + count] = slices[k + 1]
    if np.issubdtype(volume.array.dtype, np.integer):
        np.rint(values, out=values)
    array = np.moveaxis(values, 0, axis).astype(volume.array.dtype)
    return Volume(np.ascontiguousarray(array), geometry)
