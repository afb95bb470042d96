"""Find the plane from which voxels are inside on one side and outside on the other.

A voxel says only on which side its centre lies. Averaging the places where neighbours differ wastes
much of that, so the plane is found that separates the two sides best: logistic regression whose
slope is given (a share of a voxel's size), which is convex, needs no starting point, and, like a
median, follows the many and not the few far off (osteophytes, Schmorl's nodes, label errors).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

SHARPNESS = (1.0, 0.5, 0.25, 0.12, 0.06)
"""Widths of the transition, in voxels, one after the other: the last decides."""

MOST_STEPS = 25
NEAR_MM = 2.0
"""Voxels within this of the plane, or a voxel and a half, say how well it separates them."""

FIRST_VOXELS, FIRST_MM = 4000, 1.0
"""A first, coarse look takes about so many voxels, and no sharper a transition than this."""

FAR_MM, FAR_VOXELS = 4.0, 2.5
"""Voxels farther than either from the first plane play no part in the exact one."""

RIDGE = 1e-6


@dataclass(frozen=True)
class Plane:
    """A plane over x and y.

    Attributes:
        level_mm: Its height at x = y = 0.
        slope: By how much it rises along x and y, (2,).
        agreement: Share of the voxels near the plane that lie on their own side of it.
    """

    level_mm: float
    slope: np.ndarray
    agreement: float

    def height_mm(self, x_mm: np.ndarray | float, y_mm: np.ndarray | float) -> np.ndarray:
        """Return heights at places."""
        return self.level_mm + self.slope[0] * np.asarray(x_mm) + self.slope[1] * np.asarray(y_mm)

    def normal(self) -> np.ndarray:
        """Return the normal towards greater heights, (3,)."""
        normal = np.array([-self.slope[0], -self.slope[1], 1.0])
        return normal / np.linalg.norm(normal)


def fit_plane(places_mm: np.ndarray, inside: np.ndarray, voxel_mm: float) -> Plane:
    """Return the plane below which voxels are inside.

    Args:
        places_mm: Centres of voxels: x, y and height, (n, 3).
        inside: Which of them belong to the object below, (n,).
        voxel_mm: How far a voxel reaches along the height.

    Raises:
        ValueError: If all voxels are on one side.
    """
    scale_mm = max(float(np.abs(places_mm[:, :2]).max(initial=0)), 1.0)
    design = np.column_stack([np.ones(len(places_mm)), places_mm[:, :2] / scale_mm])
    level, *slope = _fit(design, places_mm[:, 2], inside, voxel_mm)
    plane = Plane(float(level), np.array(slope) / scale_mm, 0.0)
    off = plane.height_mm(places_mm[:, 0], places_mm[:, 1]) - places_mm[:, 2]
    near = np.abs(off) < max(1.5 * voxel_mm, NEAR_MM)
    agreement = float(((off > 0) == inside)[near].mean()) if near.any() else 0.0
    return Plane(plane.level_mm, plane.slope, agreement)


def fit_level(
    heights_mm: np.ndarray, inside: np.ndarray, voxel_mm: float, stray_mm: float = np.inf
) -> float:
    """Return how far a part of a surface lies from the plane that was fitted to the whole.

    Args:
        heights_mm: Heights of the part's voxels above that plane, (n,).
        inside: Which of them belong to the object below, (n,).
        voxel_mm: How far a voxel reaches along the height.
        stray_mm: How far parts usually lie from the plane: of the levels that coarse voxels leave
            open, those near the plane are likelier. By default all are alike.

    Raises:
        ValueError: If all voxels are on one side.
    """
    design = np.ones((len(heights_mm), 1))
    return float(_fit(design, heights_mm, inside, voxel_mm, 1 / stray_mm**2)[0])


def _fit(
    design: np.ndarray,
    height: np.ndarray,
    inside: np.ndarray,
    voxel_mm: float,
    pull: float = 0.0,
) -> np.ndarray:
    if inside.all() or not inside.any():
        raise ValueError("no boundary: all voxels are on one side")
    weights = np.zeros(design.shape[1])
    weights[0] = _best_level(height, inside)
    some = slice(None, None, max(1, len(height) // FIRST_VOXELS))
    first = SHARPNESS[0] * max(voxel_mm, FIRST_MM)
    weights = _newton((design[some], height[some], inside[some]), weights, first)
    # What lies farther off is on its own side, or another thing than this boundary.
    near = np.abs(design @ weights - height) < max(FAR_MM, FAR_VOXELS * voxel_mm)
    design, height, inside = design[near], height[near], inside[near]
    for sharpness in SHARPNESS:
        weights = _newton((design, height, inside), weights, sharpness * voxel_mm, pull)
    return weights


def _best_level(height: np.ndarray, inside: np.ndarray) -> float:
    """Return the height that leaves fewest voxels on the wrong side."""
    order = np.argsort(height)
    wrong = np.cumsum(~inside[order]) - np.cumsum(inside[order])
    return float(height[order][int(np.argmin(wrong))])


def _newton(
    voxels: tuple[np.ndarray, np.ndarray, np.ndarray],
    weights: np.ndarray,
    width_mm: float,
    pull: float = 0.0,
) -> np.ndarray:
    """Minimise the logistic loss of ``design @ weights - height``, in units of the width.

    ``voxels`` are the design (n, k), the height and whether it is inside, (n,). ``pull`` times half
    the square of the weights is added.
    """
    design, height, inside = voxels

    def loss(w: np.ndarray) -> float:
        t = (design @ w - height) / width_mm
        return float(np.logaddexp(0, np.where(inside, -t, t)).sum() + pull * (w @ w) / 2)

    now = loss(weights)
    for _ in range(MOST_STEPS):
        chance = expit((design @ weights - height) / width_mm)
        gradient = design.T @ (chance - inside) / width_mm + pull * weights
        hessian = (design * (chance * (1 - chance))[:, None]).T @ design / width_mm**2
        hessian[np.diag_indices_from(hessian)] += pull + RIDGE
        step = np.linalg.solve(hessian, gradient)
        rate = 1.0
        while rate > 1e-3 and (then := loss(weights - rate * step)) > now:
            rate /= 2
        if rate <= 1e-3:
            break
        weights, gained, now = weights - rate * step, now - then, then
        if gained < 1e-6 * max(now, 1e-3):
            break
    return weights
