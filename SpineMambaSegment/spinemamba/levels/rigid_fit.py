"""Rigid registration of two surfaces given by points: iterative closest points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

FAR_MM = 5.0
"""Greatest distance of a point that counts; a rib that only one outline has is farther away."""

_NEIGHBOURS = 4
"""A point is compared with the mean of that many nearest points of a surface, because the points of
two surfaces do not coincide even if the surfaces do."""

_USED = 0.9
"""Share of the pairs of points, those nearest to each other, that determine the motion."""


@dataclass(frozen=True)
class Motion:
    """Rotation and translation: ``x @ rotation.T + shift_mm``.

    Attributes:
        rotation: Rotation matrix, (3, 3).
        shift_mm: Translation, (3,).
    """

    rotation: np.ndarray
    shift_mm: np.ndarray

    def apply(self, points_mm: np.ndarray) -> np.ndarray:
        """Move points, (n, 3)."""
        return points_mm @ self.rotation.T + self.shift_mm

    def undo(self, points_mm: np.ndarray) -> np.ndarray:
        """Move points back, (n, 3)."""
        return (points_mm - self.shift_mm) @ self.rotation


class Surface:
    """Points of a surface, and the search for the nearest of them.

    Attributes:
        points_mm: Points in random order, (n, 3).
    """

    def __init__(self, points_mm: np.ndarray):
        self.points_mm = points_mm
        self._tree = cKDTree(points_mm)

    def nearest(self, points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance of each point to this surface, (n,), and the nearest places on it."""
        _, index = self._tree.query(points_mm, k=_NEIGHBOURS)
        places_mm = self.points_mm[index].mean(axis=1)
        return np.linalg.norm(points_mm - places_mm, axis=1), places_mm

    def distances_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the distance of each point to this surface, (n,); `FAR_MM` at most."""
        return np.minimum(self.nearest(points_mm)[0], FAR_MM)


def best_motion(
    points_mm: np.ndarray, targets_mm: np.ndarray, towards_none_mm2: float = 0.0
) -> Motion:
    """Return the motion that brings points closest to their targets (Kabsch).

    Args:
        points_mm: Points, (n, 3).
        targets_mm: Their targets, (n, 3).
        towards_none_mm2: Weight of no rotation, which decides where the points do not: those on a
            line leave the rotation about it open.
    """
    centre, target = points_mm.mean(axis=0), targets_mm.mean(axis=0)
    moment = (points_mm - centre).T @ (targets_mm - target) + towards_none_mm2 * np.eye(3)
    u, _, vt = np.linalg.svd(moment)
    mirror = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    rotation = vt.T @ mirror @ u.T
    return Motion(rotation, target - rotation @ centre)


def fit(
    moving: Surface, fixed: Surface, start: Motion, points: int, steps: int
) -> tuple[float, Motion]:
    """Register two surfaces.

    Args:
        moving: Surface to move.
        fixed: Surface to move it to.
        start: First motion.
        points: Number of points of each surface to compare.
        steps: Number of iterations.

    Returns:
        Mean distance of the points of both to the other surface in mm, and the motion.
    """
    ours, theirs = moving.points_mm[:points], fixed.points_mm[:points]
    motion = start
    for _ in range(steps):
        away_mm, targets = fixed.nearest(motion.apply(ours))
        back_mm, sources = moving.nearest(motion.undo(theirs))
        distances_mm = np.concatenate([away_mm, back_mm])
        used = distances_mm <= np.quantile(distances_mm, _USED)
        pairs = np.concatenate([ours, sources])[used], np.concatenate([targets, theirs])[used]
        motion = best_motion(*pairs)
    return _both_ways_mm(moving, fixed, motion, points), motion


def _both_ways_mm(moving: Surface, fixed: Surface, motion: Motion, points: int) -> float:
    """Return the mean distance of the points of two surfaces to the other one, in mm."""
    there_mm = fixed.distances_mm(motion.apply(moving.points_mm[:points]))
    back_mm = moving.distances_mm(motion.undo(fixed.points_mm[:points]))
    return float(there_mm.mean() + back_mm.mean()) / 2
