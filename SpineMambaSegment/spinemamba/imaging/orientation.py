"""Turn an image into the canonical orientation and back, voxel for voxel."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from spinemamba.imaging.volume import Geometry, Volume


@dataclass(frozen=True)
class Reorientation:
    """How an image was turned.

    Attributes:
        permutation: Axis of the original array that became each canonical axis (z, y, x).
        flips: Whether each canonical axis (z, y, x) runs against the original.
        original: Grid before turning.
    """

    permutation: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    original: Geometry


def canonical(volume: Volume) -> tuple[Volume, Reorientation]:
    """Return the volume with array axes nearest to superior, posterior, left.

    Only permutes and flips: no interpolation, and every voxel keeps its place in the patient.
    An oblique image stays oblique.

    Returns:
        The turned volume, contiguous, and how it was turned.
    """
    # Column a of this matrix: direction of array axis a (z, y, x) in superior, posterior, left.
    axes_spl = np.asarray(volume.geometry.direction_lps)[::-1, ::-1]
    permutation = _best_permutation(np.abs(axes_spl))
    flips = tuple(bool(axes_spl[k, permutation[k]] < 0) for k in range(3))
    array = _flip(volume.array.transpose(permutation), flips)
    turned = Volume(np.ascontiguousarray(array), _turned(volume.geometry, permutation, flips))
    return turned, Reorientation(permutation, flips, volume.geometry)


def restore(array: np.ndarray, reorientation: Reorientation) -> Volume:
    """Return an array on the canonical grid to the original one, exactly.

    Args:
        array: Values on the canonical grid, (z, y, x).
        reorientation: What `canonical` returned.
    """
    inverse = np.argsort(reorientation.permutation)
    turned = _flip(array, reorientation.flips).transpose(inverse)
    return Volume(np.ascontiguousarray(turned), reorientation.original)


def with_axes_of(other: Volume, volume: Volume) -> Volume:
    """Return a volume whose array axes run as those of another one on the same voxels."""
    return restore(canonical(volume)[0].array, canonical(other)[1])


def _best_permutation(strength: np.ndarray) -> tuple[int, int, int]:
    """Return for each canonical axis the array axis along it, each used once."""
    return max(
        itertools.permutations(range(3)), key=lambda p: sum(strength[k, p[k]] for k in range(3))
    )


def _flip(array: np.ndarray, flips: tuple[bool, ...]) -> np.ndarray:
    return array[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]


def _turned(geometry: Geometry, permutation: tuple[int, ...], flips: tuple[bool, ...]) -> Geometry:
    """Return the grid after permuting its axes and flipping the new axes that are marked."""
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
