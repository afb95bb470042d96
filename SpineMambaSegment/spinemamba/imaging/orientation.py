"""Reorient an image to the canonical orientation and back, without interpolation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from spinemamba.imaging.volume import Geometry, Volume


@dataclass(frozen=True)
class Reorientation:
    """Permutation and flips that reorient an image.

    Attributes:
        permutation: Axis of the original array for each canonical axis (z, y, x).
        flips: Whether each canonical axis (z, y, x) is opposite to the original axis.
        original: Grid before reorientation.
    """

    permutation: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    original: Geometry


def canonical(volume: Volume) -> tuple[Volume, Reorientation]:
    """Return the volume with array axes closest to superior, posterior, left.

    Axes are only permuted and flipped: voxels keep their position in the patient, and an oblique
    image stays oblique.

    Returns:
        The reoriented volume, contiguous, and the reorientation.
    """
    view, reorientation = canonical_view(volume)
    return view.with_array(np.ascontiguousarray(view.array)), reorientation


def canonical_view(volume: Volume) -> tuple[Volume, Reorientation]:
    """`canonical` without copying: the array is a view, which need not be contiguous."""
    # Column a: direction of array axis a (z, y, x) in superior, posterior, left.
    axes_spl = np.asarray(volume.geometry.direction_lps)[::-1, ::-1]
    permutation = _best_permutation(np.abs(axes_spl))
    flips = tuple(bool(axes_spl[k, permutation[k]] < 0) for k in range(3))
    array = _flip(volume.array.transpose(permutation), flips)
    reoriented = Volume(array, _reoriented_geometry(volume.geometry, permutation, flips))
    return reoriented, Reorientation(permutation, flips, volume.geometry)


def reorient_back(array: np.ndarray, reorientation: Reorientation) -> Volume:
    """Reorient an array on the canonical grid back to the original grid, exactly.

    Args:
        array: Values on the canonical grid, (z, y, x).
        reorientation: As returned by `canonical`.
    """
    inverse = np.argsort(reorientation.permutation)
    reoriented = _flip(array, reorientation.flips).transpose(inverse)
    return Volume(np.ascontiguousarray(reoriented), reorientation.original)


def with_axes_of(other: Volume, volume: Volume) -> Volume:
    """Reorient a volume to the axes of another volume that covers the same voxels."""
    return reorient_back(canonical(volume)[0].array, canonical(other)[1])


def _best_permutation(strength: np.ndarray) -> tuple[int, int, int]:
    """Return the best matching array axis for each canonical axis, each used once."""
    return max(
        itertools.permutations(range(3)), key=lambda p: sum(strength[k, p[k]] for k in range(3))
    )


def _flip(array: np.ndarray, flips: tuple[bool, ...]) -> np.ndarray:
    return array[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]


def _reoriented_geometry(
    geometry: Geometry, permutation: tuple[int, ...], flips: tuple[bool, ...]
) -> Geometry:
    """Return the grid after permuting its axes and then flipping some of the new axes."""
    corner = np.zeros(3)
    for new, old in enumerate(permutation):
        if flips[new]:
            corner[old] = geometry.shape[old] - 1
    axes_zyx = np.asarray(geometry.direction_lps)[:, ::-1]
    direction = (axes_zyx[:, list(permutation)] * np.where(flips, -1.0, 1.0))[:, ::-1]
    return Geometry(
        tuple(geometry.shape[old] for old in permutation),
        tuple(geometry.spacing_mm[old] for old in permutation),
        tuple(float(v) for v in geometry.to_lps_mm(corner)),
        direction,
    )
