"""Separable resampling between grids with parallel axes."""

from __future__ import annotations

import math

import numpy as np
import torch

from spinemamba.imaging.volume import Box, Geometry


def axis_weights(length_in: int, centres_vox: np.ndarray, reach_vox: float) -> np.ndarray:
    """Return the matrix that resamples one axis.

    Linear interpolation if the target is finer than the source. If it is coarser, the mean of the
    interpolated line over the target's step, which avoids aliasing and does not shift slopes.
    Beyond the ends, the outermost voxel is repeated.

    Args:
        length_in: Voxels of the source along this axis.
        centres_vox: Centres of the target's voxels, in source voxels; shape (n,).
        reach_vox: Step of the target in source voxels.

    Returns:
        Weights of shape (n, length_in), float32; every row sums to 1.
    """
    centres = np.clip(centres_vox, 0.0, length_in - 1.0)
    offset = centres[:, None] - np.arange(length_in)[None, :]
    if reach_vox <= 1:
        weights = np.clip(1.0 - np.abs(offset), 0.0, None)
    else:
        weights = _hat_integral(offset + reach_vox / 2) - _hat_integral(offset - reach_vox / 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _hat_integral(t: np.ndarray) -> np.ndarray:
    """Return the integral up to ``t`` of the hat function (kernel of linear interpolation)."""
    t = np.clip(t, -1.0, 1.0)
    return np.where(t < 0, (t + 1) ** 2 / 2, 1 - (1 - t) ** 2 / 2)


def resample_box(array: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    """Resample an array linearly to another grid with parallel axes.

    Args:
        array: Values on ``source``, shape (z, y, x) or (channels, z, y, x), any dtype.
        source: Grid of ``array``.
        target: Grid of the result; outside of the source, the outermost voxel is repeated.

    Returns:
        float32 values on ``target``, with the channels of ``array`` if any.

    Raises:
        ValueError: If the axes of the grids are not parallel.
    """
    if not np.allclose(source.direction_lps, target.direction_lps, atol=1e-4):
        raise ValueError("the axes of the two grids are not parallel")
    first_vox = source.to_index_zyx(np.asarray(target.origin_lps_mm))
    values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    steps = [target.spacing_mm[a] / source.spacing_mm[a] for a in range(3)]
    # The axis that shrinks most goes first, to save time on the others.
    for axis in sorted(range(3), key=lambda a: target.shape[a] / source.shape[a]):
        centres = first_vox[axis] + steps[axis] * np.arange(target.shape[axis])
        weights = axis_weights(source.shape[axis], centres, steps[axis])
        values = _apply(values, torch.from_numpy(weights), axis - 3)
    return values.numpy()


def _apply(values: torch.Tensor, weights: torch.Tensor, axis: int) -> torch.Tensor:
    """Multiply one axis (counted from the end) by a (n_out, n_in) matrix."""
    if axis == -1:
        return values @ weights.T
    if axis == -2:
        return weights @ values
    *lead, depth, rows, columns = values.shape
    out = weights @ values.reshape(*lead, depth, rows * columns)
    return out.reshape(*lead, weights.shape[0], rows, columns)


def grid_with_spacing(
    geometry: Geometry, spacing_mm: float | tuple[float, float, float]
) -> Geometry:
    """Return a grid of another spacing over the same extent, with parallel axes.

    The outer faces of the first voxels coincide; the last voxel may extend beyond the source by
    less than one step.
    """
    steps_mm = np.broadcast_to(np.asarray(spacing_mm, float), (3,))
    extent_mm = np.asarray(geometry.shape) * np.asarray(geometry.spacing_mm)
    shape = tuple(max(1, math.ceil(e / s - 1e-6)) for e, s in zip(extent_mm, steps_mm, strict=True))
    shift_vox = (steps_mm / np.asarray(geometry.spacing_mm) - 1.0) / 2.0
    origin = geometry.to_lps_mm(shift_vox)
    return Geometry(
        shape, tuple(map(float, steps_mm)), tuple(map(float, origin)), geometry.direction_lps
    )


def crop_geometry(geometry: Geometry, box: Box) -> Geometry:
    """Return the grid of a box of voxels; slices have a start and a stop."""
    starts = np.array([s.start for s in box])
    shape = tuple(int(s.stop - s.start) for s in box)
    origin = geometry.to_lps_mm(starts)
    return Geometry(shape, geometry.spacing_mm, tuple(map(float, origin)), geometry.direction_lps)
