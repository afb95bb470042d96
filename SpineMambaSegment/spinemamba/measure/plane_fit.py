"""Fit a plane that separates voxels inside an object from voxels outside.

A voxel only tells on which side of the surface its centre lies. Averaging the positions of boundary
faces loses much of this information. Here, the plane is the decision boundary of a logistic
regression with a fixed slope (a fraction of the voxel size). The fit is convex, needs no initial
value, and is robust, like a median, to outliers (osteophytes, Schmorl's nodes, label errors).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

_SHARPNESS = (1.0, 0.5, 0.25, 0.12, 0.06)
"""Successive widths of the transition, in voxels; the last one defines the result."""

_MOST_STEPS = 25
_NEAR_MM = 2.0
"""Distance from the plane within which the agreement is computed, or 1.5 voxels if larger."""

_FIRST_VOXELS, _FIRST_MM = 4000, 1.0
"""Approximate number of voxels and smallest width of the transition for the first, coarse fit."""

_FAR_MM, _FAR_VOXELS = 4.0, 2.5
"""Voxels farther than both from the first plane are not used in the final fit."""

_RIDGE = 1e-6


@dataclass(frozen=True)
class Plane:
    """A plane over x and y.

    Attributes:
        level_mm: Height at x = y = 0.
        slope: Slopes along x and y, (2,).
        agreement: Share of the voxels near the plane that are on the correct side.
    """

    level_mm: float
    slope: np.ndarray
    agreement: float

    def height_mm(self, x_mm: np.ndarray | float, y_mm: np.ndarray | float) -> np.ndarray:
        """Return the heights at x and y."""
        return self.level_mm + self.slope[0] * np.asarray(x_mm) + self.slope[1] * np.asarray(y_mm)

    def normal(self) -> np.ndarray:
        """Return the unit normal towards greater heights, (3,)."""
        normal = np.array([-self.slope[0], -self.slope[1], 1.0])
        return normal / np.linalg.norm(normal)


def fit_plane(places_mm: np.ndarray, inside: np.ndarray, voxel_mm: float) -> Plane:
    """Return the upper boundary plane of an object.

    Args:
        places_mm: Voxel centres (x, y, height), (n, 3).
        inside: Whether each voxel is in the object, which is below the plane, (n,).
        voxel_mm: Extent of a voxel along the height.

    Raises:
        ValueError: If all voxels are on one side.
    """
    scale_mm = max(float(np.abs(places_mm[:, :2]).max(initial=0)), 1.0)
    design = np.column_stack([np.ones(len(places_mm)), places_mm[:, :2] / scale_mm])
    level, *slope = _fit(design, places_mm[:, 2], inside, voxel_mm)
    plane = Plane(float(level), np.array(slope) / scale_mm, 0.0)
    off = plane.height_mm(places_mm[:, 0], places_mm[:, 1]) - places_mm[:, 2]
    near = np.abs(off) < max(1.5 * voxel_mm, _NEAR_MM)
    agreement = float(((off > 0) == inside)[near].mean()) if near.any() else 0.0
    return Plane(plane.level_mm, plane.slope, agreement)


def fit_level(
    heights_mm: np.ndarray, inside: np.ndarray, voxel_mm: float, stray_mm: float = np.inf
) -> float:
    """Return the height of a part of a surface above the plane fitted to the whole surface.

    Args:
        heights_mm: Heights of the voxels of this part above that plane, (n,).
        inside: Whether each voxel is in the object, (n,).
        voxel_mm: Extent of a voxel along the height.
        stray_mm: Prior standard deviation of the result: among heights that coarse voxels do not
            distinguish, those near the plane are preferred. Infinite by default.

    Raises:
        ValueError: If all voxels are on one side.
    """
    design = np.ones((len(heights_mm), 1))
    return float(_fit(design, heights_mm, inside, voxel_mm, 1 / stray_mm**2)[0])


def fit_border(
    design: np.ndarray, height_mm: np.ndarray, inside: np.ndarray, voxel_mm: float
) -> np.ndarray:
    """Return the weights of a border that is linear in given features.

    Args:
        design: Features of each voxel, (n, k); the first one is 1.
        height_mm: Height of each voxel; the object lies below ``design @ weights``, (n,).
        inside: Whether each voxel is in the object, (n,).
        voxel_mm: Extent of a voxel along the height.

    Raises:
        ValueError: If all voxels are on one side.
    """
    return _fit(design, height_mm, inside, voxel_mm)


def _fit(
    design: np.ndarray,
    height: np.ndarray,
    inside: np.ndarray,
    voxel_mm: float,
    prior_precision: float = 0.0,
) -> np.ndarray:
    if inside.all() or not inside.any():
        raise ValueError("no boundary: all voxels are on one side")
    weights = np.zeros(design.shape[1])
    weights[0] = _best_level(height, inside)
    some = slice(None, None, max(1, len(height) // _FIRST_VOXELS))
    first = _SHARPNESS[0] * max(voxel_mm, _FIRST_MM)
    weights = _newton((design[some], height[some], inside[some]), weights, first)
    # Voxels farther away are on the correct side, or belong to another boundary.
    near = np.abs(design @ weights - height) < max(_FAR_MM, _FAR_VOXELS * voxel_mm)
    design, height, inside = design[near], height[near], inside[near]
    for sharpness in _SHARPNESS:
        width_mm = sharpness * voxel_mm
        weights = _newton((design, height, inside), weights, width_mm, prior_precision)
    return weights


def _best_level(height: np.ndarray, inside: np.ndarray) -> float:
    """Return the height with the fewest voxels on the wrong side."""
    order = np.argsort(height)
    wrong = np.cumsum(~inside[order]) - np.cumsum(inside[order])
    return float(height[order][int(np.argmin(wrong))])


def _newton(
    voxels: tuple[np.ndarray, np.ndarray, np.ndarray],
    weights: np.ndarray,
    width_mm: float,
    prior_precision: float = 0.0,
) -> np.ndarray:
    """Minimise the logistic loss of ``design @ weights - height`` by Newton's method.

    Args:
        voxels: Design matrix (n, k), height (n,) and whether each voxel is inside (n,).
        weights: Initial weights, (k,).
        width_mm: Width of the transition, the scale of the logistic function.
        prior_precision: Weight of the penalty ``|weights|^2 / 2``.
    """
    design, height, inside = voxels

    def loss(w: np.ndarray) -> float:
        t = (design @ w - height) / width_mm
        penalty = prior_precision * (w @ w) / 2
        return float(np.logaddexp(0, np.where(inside, -t, t)).sum() + penalty)

    current = loss(weights)
    for _ in range(_MOST_STEPS):
        probability = expit((design @ weights - height) / width_mm)
        gradient = design.T @ (probability - inside) / width_mm + prior_precision * weights
        hessian = (design * (probability * (1 - probability))[:, None]).T @ design / width_mm**2
        hessian[np.diag_indices_from(hessian)] += prior_precision + _RIDGE
        step = np.linalg.solve(hessian, gradient)
        rate = 1.0
        while rate > 1e-3 and (new := loss(weights - rate * step)) > current:
            rate /= 2
        if rate <= 1e-3:
            break
        weights, decrease, current = weights - rate * step, current - new, new
        if decrease < 1e-6 * max(current, 1e-3):
            break
    return weights
