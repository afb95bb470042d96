"""Lower bounds of measurement errors, from planes that give identical label maps.

A voxel only states on which side of a surface its centre lies. All planes with the same centres on
each side give the same labels, so no method can distinguish them. Half of the range of a
measurement over these planes is the lower bound of the error of any method, even if everything
else of the vertebra is known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from analytic_spine import PLACES, AnalyticVertebra
from scipy.optimize import linprog

from spinemamba.imaging.volume import Geometry

NEAR_VOXELS = 1.5
"""Largest distance of a voxel that bounds a surface, in longest voxel edges."""


@dataclass(frozen=True)
class Planes:
    """Planes ``w[0] + w[1] * a + w[2] * b`` between the voxels inside and those outside.

    Attributes:
        design: Rows 1, a, b of the voxels near the surface, (n, 3).
        height_mm: Of the voxels, (n,).
        inside: Whether each lies below the surface, (n,).
    """

    design: np.ndarray
    height_mm: np.ndarray
    inside: np.ndarray

    def ends(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the two such planes with the least and the greatest ``weights @ w``.

        Raises:
            ValueError: If there are so few voxels that it has no bound.
        """
        side = np.where(self.inside, -1.0, 1.0)
        rows, most = self.design * side[:, None], self.height_mm * side
        found = [linprog(s * weights, rows, most, bounds=(None, None)) for s in (1, -1)]
        if not all(end.success for end in found):
            raise ValueError(found[0].message)
        return found[0].x, found[1].x

    def range(self, weights: np.ndarray) -> tuple[float, float]:
        """Return the least and the greatest value of ``weights @ w``; infinite if not bound."""
        try:
            low, high = self.ends(weights)
        except ValueError:
            return -np.inf, np.inf
        return float(weights @ low), float(weights @ high)

    def half_mm(self, a_mm: float, b_mm: float) -> float:
        """Return half the range of the height at a place."""
        low, high = self.range(np.array([1.0, a_mm, b_mm]))
        return (high - low) / 2

    def half_deg(self, axis: int) -> float:
        """Return half the range of the angle along a (0) or b (1)."""
        low, high = self.range(np.eye(3)[1 + axis])
        return float(np.degrees(np.arctan(high) - np.arctan(low)) / 2)


def endplate(vertebra: AnalyticVertebra, sign: int, grid: Geometry) -> Planes:
    """Return the planes of an endplate, over left and posterior, with the outline known."""
    places = _voxels(vertebra, grid)
    width, depth, height = vertebra.size
    ring = np.abs(places[:, :2]) / (width / 2, depth / 2)
    sagittal, coronal = np.tan(np.radians(vertebra.wedge_deg) / 2 * sign)
    level = sign * height / 2 + places[:, :2] @ (coronal, -sagittal)
    near = ((ring**3).sum(axis=1) <= 1) & (np.abs(places[:, 2] - level) <= _near_mm(grid))
    design = np.column_stack([np.ones(len(places)), places[:, :2]])[near]
    return Planes(design, places[near, 2], places[near, 2] <= level[near])


def back_wall(vertebra: AnalyticVertebra, share: float, grid: Geometry) -> Planes:
    """Return the planes of the posterior wall, over left and up, with its roundness known.

    Args:
        vertebra: Whose wall.
        share: Of the half width beside the midline where no pedicle hides the wall.
        grid: Voxels.
    """
    places = _voxels(vertebra, grid)
    half_width, half_depth = vertebra.size[0] / 2, vertebra.size[1] / 2
    x = np.minimum(np.abs(places[:, 0]) / half_width, 1)
    wall = half_depth * (1 - x**3) ** (1 / 3)
    bare = (x <= share) & (np.abs(places[:, 2]) <= vertebra.size[2] / 2)
    near = bare & (np.abs(places[:, 1] - wall) <= _near_mm(grid))
    design = np.column_stack([np.ones(len(places)), places[:, ::2]])[near]
    behind = places[near, 1] + (half_depth - wall)[near]
    return Planes(design, behind, behind <= half_depth)


def height_limit_mm(vertebra: AnalyticVertebra, place: int, grid: Geometry) -> float:
    """Return the lower bound of the error of the height at one of `PLACES`."""
    y = PLACES[place] * vertebra.size[1] / 2
    return sum(endplate(vertebra, sign, grid).half_mm(0.0, y) for sign in (1, -1))


def cobb_limit_deg(
    upper: AnalyticVertebra, lower: AnalyticVertebra, axis: int, grid: Geometry
) -> float:
    """Return the same for the angle between two endplates, in the axes of their bodies.

    Args:
        upper: Whose upper endplate.
        lower: Whose lower endplate.
        axis: 0 for the angle to the side, 1 for the one in the sagittal plane.
        grid: Voxels.
    """
    return endplate(upper, 1, grid).half_deg(axis) + endplate(lower, -1, grid).half_deg(axis)


def slip_limit_mm(
    upper: AnalyticVertebra, lower: AnalyticVertebra, share: float, grid: Geometry
) -> float:
    """Return the same for a slip, with both endplates known."""
    walls = [(vertebra, back_wall(vertebra, share, grid)) for vertebra in (upper, lower)]
    return sum(
        wall.half_mm(0.0, sign * vertebra.size[2] / 2)
        for sign, (vertebra, wall) in zip((-1, 1), walls, strict=True)
    )


def _near_mm(grid: Geometry) -> float:
    return NEAR_VOXELS * max(grid.spacing_mm)


def _voxels(vertebra: AnalyticVertebra, grid: Geometry) -> np.ndarray:
    """Return the voxels around a body in its own axes, (n, 3)."""
    reach = np.array(vertebra.size) / 2 + _near_mm(grid) + 4
    corners = np.array(np.meshgrid(*[(-r, r) for r in reach])).reshape(3, -1).T
    index = grid.to_index_zyx(vertebra.centre + corners @ vertebra.axes)
    low, high = np.floor(index.min(axis=0)).astype(int), np.ceil(index.max(axis=0)).astype(int)
    axes = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    every = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    return (grid.to_lps_mm(every) - vertebra.centre) @ vertebra.axes.T
