"""Find the shafts of screws in the metal of a CT."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.imaging.volume import Volume
from spinemamba.measure.frame import unit
from spinemamba.planning.breach import Bone, Shaft, shaft_between

METAL_HU = 2200.0
"""Titanium and steel exceed this at the usual voltages; cortical bone does not."""

_BEYOND_MM = 6.0
"""Metal up to this far outside of the bone belongs to a shaft; heads and rods lie farther away."""

_LEAST_MM3 = 150.0
_LEAST_LENGTH_MM = 12.0
_LEAST_SLENDER = 2.0
"""Smallest ratio of length and diameter of a shaft."""

_INLIER_MM = 4.5
"""Largest distance of a shaft's voxels from its axis."""

_BETWEEN_MM = 1.0
"""Half the width of the gap at the midline: a shaft lies on one side."""


@dataclass(frozen=True)
class _Cylinder:
    """A cylinder: local end points and diameter."""

    first_mm: np.ndarray
    last_mm: np.ndarray
    diameter_mm: float


def find_shafts(ct: Volume, bone: Bone) -> dict[str, Shaft]:
    """Return the shaft of a screw on each side of a vertebra, where there is one.

    Args:
        ct: CT on the grid of the labels, standing.
        bone: The vertebra.
    """
    points, voxel_mm3 = _metal_near(ct, bone)
    found = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        mine = points[sign * points[:, 0] > _BETWEEN_MM]
        cylinder = _fit(mine, voxel_mm3)
        if cylinder is None:
            continue
        start, tip = cylinder.first_mm, cylinder.last_mm
        if start[1] < tip[1]:
            start, tip = tip, start
        try:
            found[side] = shaft_between(bone, start, tip, cylinder.diameter_mm)
        except ValueError:
            continue
    return found


def _metal_near(ct: Volume, bone: Bone) -> tuple[np.ndarray, float]:
    """Return the local positions of metal in and at a vertebra, (n, 3), and a voxel's volume."""
    field = bone.field
    low = field.first_mm
    high = low + 0.5 * (np.array(field.depth_mm.shape[::-1]) - 1)
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    index = ct.geometry.to_index_zyx(field.frame.to_lps(corners))
    first = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
    last = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, ct.array.shape)
    box = tuple(slice(a, max(a, b)) for a, b in zip(first, last, strict=True))
    places = np.argwhere(ct.array[box] >= METAL_HU) + first
    points = field.frame.to_local(ct.geometry.to_lps_mm(places))
    # A screw that is not labelled as bone leaves a hole in the label: distances bridge it.
    near = field.at(points) > -_BEYOND_MM
    return points[near], ct.geometry.voxel_mm3


def _fit(points: np.ndarray, voxel_mm3: float) -> _Cylinder | None:
    """Return the cylinder through most of the points; None if they are no shaft."""
    if len(points) * voxel_mm3 < _LEAST_MM3:
        return None
    points = _largest_piece(points, voxel_mm3)
    line_point, direction = _line_through(points)
    for _ in range(6):
        offset = points - line_point
        along = offset @ direction
        across = np.linalg.norm(offset - along[:, None] * direction, axis=1)
        inner = points[across <= _INLIER_MM]
        if len(inner) * voxel_mm3 < _LEAST_MM3:
            return None
        line_point = inner.mean(axis=0)
        direction = _main_axis(inner)
    along = (inner - line_point) @ direction
    low, high = np.percentile(along, [0.5, 99.5])
    length = float(high - low)
    middle = (along > low + 0.2 * length) & (along < high - 0.2 * length)
    if length < _LEAST_LENGTH_MM or not middle.any():
        return None
    diameter = 2 * np.sqrt(middle.sum() * voxel_mm3 / (np.pi * 0.6 * length))
    if length < _LEAST_SLENDER * diameter:
        return None
    return _Cylinder(line_point + low * direction, line_point + high * direction, float(diameter))


def _largest_piece(points: np.ndarray, voxel_mm3: float) -> np.ndarray:
    """Return the points of the largest connected piece."""
    step = 1.5 * voxel_mm3 ** (1 / 3) + 0.5
    index = np.floor((points - points.min(axis=0)) / step).astype(int)
    grid = np.zeros(index.max(axis=0) + 1, bool)
    grid[tuple(index.T)] = True
    pieces, _ = ndimage.label(grid, np.ones((3, 3, 3)))
    numbers = pieces[tuple(index.T)]
    return points[numbers == np.bincount(numbers).argmax()]


def _line_through(points: np.ndarray, tries: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return the line with the most points nearby, from random pairs of them."""
    rng = np.random.default_rng(0)
    some = points[rng.permutation(len(points))[:1500]]
    best, most = (points.mean(axis=0), _main_axis(points)), -1
    for _ in range(tries):
        first, second = some[rng.integers(len(some), size=2)]
        if np.linalg.norm(second - first) < _LEAST_LENGTH_MM / 2:
            continue
        direction = unit(second - first)
        offset = some - first
        across = np.linalg.norm(offset - (offset @ direction)[:, None] * direction, axis=1)
        count = int((across <= _INLIER_MM / 1.5).sum())
        if count > most:
            best, most = (first, direction), count
    return best


def _main_axis(points: np.ndarray) -> np.ndarray:
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return axes[0]
