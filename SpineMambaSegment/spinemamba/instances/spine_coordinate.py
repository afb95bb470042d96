"""Where along a chain of cores something lies: 3 is the third core, 3.5 halfway to the fourth."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.anatomy.statistics import BODY_SIZE_SPREAD, STEP_MM

ASIDE_MM = 10.0
"""Standard deviation of the distance from the line between neighbours that bodies have."""

LEAST_WEIGHT = 0.05
"""A core whose voxels weigh less on average lies off the line as a whole, and stays there."""

MIDDLE_ROUNDS = 3

BEYOND_MM = 60
"""The curve goes on straight by this much at both ends."""

TOLD_APART = 0.5
"""Levels that change by less from core to core do not say in which part of the spine these are."""

USUAL_STEP_MM = np.array([STEP_MM[pair][0] for pair in itertools.pairwise(NETWORK_LEVELS[:-1])])
STEP_SPREAD = 0.08
"""Standard deviation of the logarithm of a step over the usual one."""


@dataclass(frozen=True)
class SpineCurve:
    """A smooth curve through cores: a point per millimetre (n, 3) along z, y, x, and its index."""

    points_mm: np.ndarray
    index: np.ndarray

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the index of the nearest point of the curve, (n,) for points (n, 3)."""
        return self.index[cKDTree(self.points_mm).query(points_mm)[1]]


def spine_curve(centres_mm: np.ndarray) -> SpineCurve:
    """Return the curve through cores (n, 3) from head to tail; at least two."""
    steps_mm = np.linalg.norm(np.diff(centres_mm, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps_mm)])
    kind = "natural" if len(centres_mm) > 2 else "not-a-knot"
    places = np.arange(0.0, along[-1], 1.0)
    points = CubicSpline(along, centres_mm, bc_type=kind)(places)
    index = np.interp(places, along, np.arange(1.0, len(along) + 1))
    reach = min(10, len(points) - 1)
    up, down = points[0] - points[reach], points[-1] - points[-1 - reach]
    more = np.arange(1.0, BEYOND_MM + 1)
    above = points[0] + more[::-1, None] * up / np.linalg.norm(up)
    below = points[-1] + more[:, None] * down / np.linalg.norm(down)
    return SpineCurve(
        np.concatenate([above, points, below]),
        np.concatenate([1 - more[::-1] / steps_mm[0], index, index[-1] + more / steps_mm[-1]]),
    )


def core_centroids(points_mm: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
    """Return the middle of each core, (count, 3) along z, y, x.

    In a crushed vertebra the arch is as deep as what is left of the body, and belongs to its core:
    what lies far from the line between the neighbours' middles counts little.

    Args:
        points_mm: Voxels, (n, 3).
        numbers: Core of each, from 1 from head to tail; 0 where there is none; (n,).
        count: How many cores there are; none is empty.
    """
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(1, count + 2))
    cores = [points_mm[order[a:b]] for a, b in itertools.pairwise(bounds)]
    middles = np.array([core.mean(axis=0) for core in cores])
    for _ in range(MIDDLE_ROUNDS):
        before = middles.copy()
        for k in range(1, count - 1):
            along = before[k + 1] - before[k - 1]
            along /= np.linalg.norm(along)
            offset = cores[k] - before[k - 1]
            aside_mm = np.linalg.norm(offset - np.outer(offset @ along, along), axis=1)
            weight = np.exp(-((aside_mm / ASIDE_MM) ** 2) / 2)
            if weight.sum() > LEAST_WEIGHT * len(weight):
                middles[k] = weight @ cores[k] / weight.sum()
    return middles


def level_change_per_core(levels: np.ndarray) -> float:
    """Return how far levels change from core to core, 0 to 1: 1 if they are told apart."""
    return float(np.clip(np.median(np.diff(levels)), 0, 1)) if len(levels) > 1 else 0.0


def level_positions(centres_mm: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return roughly which level each core is, counted from head to tail, C1 is 0; (n,).

    One place follows the other; where the first one lies is told by the levels, or, if these are
    all alike, by which part of a usual spine has such distances.

    Args:
        centres_mm: Of the cores, (n, 3).
        levels: Expected level of each core, (n,).
    """
    places = np.arange(len(levels), dtype=float)
    if level_change_per_core(levels) >= TOLD_APART or len(levels) < 2:
        return places + float(np.median(levels - places))
    steps = np.log(np.linalg.norm(np.diff(centres_mm, axis=0), axis=1))
    count = len(steps)
    costs = []
    for first in range(max(1, len(USUAL_STEP_MM) - count + 1)):
        ratio = steps[: len(USUAL_STEP_MM)] - np.log(USUAL_STEP_MM[first : first + count])
        size = float(np.median(ratio))
        misfit = np.minimum(((ratio - size) / STEP_SPREAD) ** 2, 9.0).sum()
        costs.append(misfit + (size / BODY_SIZE_SPREAD) ** 2)
    return places + int(np.argmin(costs))


def coordinate_of_levels(levels: np.ndarray, of_cores: np.ndarray) -> np.ndarray:
    """Return where along the chain levels are found, (n,).

    Args:
        levels: Expected levels, (n,).
        of_cores: Expected level of each core, (cores,), which change along the chain.
    """
    count = len(of_cores)
    # What falls stays level: the index must rise with the level.
    rising = np.maximum.accumulate(of_cores + 1e-3 * np.arange(count))
    index = np.interp(levels, rising, np.arange(1.0, count + 1))
    above, below = levels < rising[0], levels > rising[-1]
    index[above] = 1 + (levels - rising[0])[above]
    index[below] = count + (levels - rising[-1])[below]
    return index
