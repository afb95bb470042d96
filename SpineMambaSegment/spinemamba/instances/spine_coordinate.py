"""Spine coordinate: position along the cores of the vertebrae.

The third core has the coordinate 3, the middle between it and the fourth 3.5.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.anatomy.statistics import BODY_SIZE_SPREAD, STEP_MM

_USUAL_STEPS_MM = np.array([STEP_MM[pair][0] for pair in itertools.pairwise(NETWORK_LEVELS[:-1])])


@dataclass(frozen=True)
class CoordinateOptions:
    """Options of the spine coordinate.

    Attributes:
        off_line_mm: Standard deviation of the distance of a vertebral body from the line between
            its neighbours.
        least_weight: A core with a lower mean weight is off the line as a whole, and keeps its
            plain centroid.
        centroid_rounds: Iterations of the robust centroids.
        extension_mm: Length of the straight extensions at both ends of the curve.
        least_level_change: If levels change by less from core to core, they do not locate the
            cores in the spine.
        step_spread: Standard deviation of the logarithm of a core distance relative to the usual
            one.
    """

    off_line_mm: float = 10.0
    least_weight: float = 0.05
    centroid_rounds: int = 3
    extension_mm: int = 60
    least_level_change: float = 0.5
    step_spread: float = 0.08


@dataclass(frozen=True)
class SpineCurve:
    """A smooth curve through the cores.

    Attributes:
        points_mm: A point per millimetre, along z, y, x, (n, 3).
        coordinate: Spine coordinate of each point, (n,).
    """

    points_mm: np.ndarray
    coordinate: np.ndarray

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the spine coordinate of the nearest point of the curve, (n,) for points (n, 3)."""
        return self.coordinate[cKDTree(self.points_mm).query(points_mm)[1]]


def spine_curve(
    centres_mm: np.ndarray, options: CoordinateOptions = CoordinateOptions()
) -> SpineCurve:
    """Return the curve through the centres of at least two cores from head to tail, (n, 3)."""
    steps_mm = np.linalg.norm(np.diff(centres_mm, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps_mm)])
    kind = "natural" if len(centres_mm) > 2 else "not-a-knot"
    samples = np.arange(0.0, along[-1], 1.0)
    points = CubicSpline(along, centres_mm, bc_type=kind)(samples)
    coordinate = np.interp(samples, along, np.arange(1.0, len(along) + 1))
    reach = min(10, len(points) - 1)
    up, down = points[0] - points[reach], points[-1] - points[-1 - reach]
    extra = np.arange(1.0, options.extension_mm + 1)
    above = points[0] + extra[::-1, None] * up / np.linalg.norm(up)
    below = points[-1] + extra[:, None] * down / np.linalg.norm(down)
    return SpineCurve(
        np.concatenate([above, points, below]),
        np.concatenate(
            [1 - extra[::-1] / steps_mm[0], coordinate, coordinate[-1] + extra / steps_mm[-1]]
        ),
    )


def core_centroids(
    points_mm: np.ndarray,
    numbers: np.ndarray,
    count: int,
    options: CoordinateOptions = CoordinateOptions(),
) -> np.ndarray:
    """Return the robust centroid of each core along z, y, x, (count, 3).

    In a collapsed vertebra the arch is as deep as the remaining body, so it is part of the core.
    Voxels far from the line between the centroids of the neighbours therefore have low weights.

    Args:
        points_mm: Voxels, (n, 3).
        numbers: Core number of each voxel, from 1 at the head; 0 outside the cores; (n,).
        count: Number of cores, each with at least one voxel.
        options: Options of the centroids.
    """
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(1, count + 2))
    cores = [points_mm[order[a:b]] for a, b in itertools.pairwise(bounds)]
    centroids = np.array([core.mean(axis=0) for core in cores])
    for _ in range(options.centroid_rounds):
        previous = centroids.copy()
        for k in range(1, count - 1):
            along = previous[k + 1] - previous[k - 1]
            along /= np.linalg.norm(along)
            offset = cores[k] - previous[k - 1]
            distance_mm = np.linalg.norm(offset - np.outer(offset @ along, along), axis=1)
            weight = np.exp(-((distance_mm / options.off_line_mm) ** 2) / 2)
            if weight.sum() > options.least_weight * len(weight):
                centroids[k] = weight @ cores[k] / weight.sum()
    return centroids


def level_change_per_core(levels: np.ndarray) -> float:
    """Return the median change of level from core to core, clipped to 0 to 1."""
    return float(np.clip(np.median(np.diff(levels)), 0, 1)) if len(levels) > 1 else 0.0


def level_positions(
    centres_mm: np.ndarray,
    levels: np.ndarray,
    options: CoordinateOptions = CoordinateOptions(),
) -> np.ndarray:
    """Return the approximate index of the level of each core, C1 is 0, (n,).

    Positions are successive numbers. The first one follows from the predicted levels or, if these
    are all similar, from the distances of the cores compared with those of a usual spine.

    Args:
        centres_mm: Centres of the cores, (n, 3).
        levels: Expected level of each core, (n,).
        options: Thresholds.
    """
    positions = np.arange(len(levels), dtype=float)
    if level_change_per_core(levels) >= options.least_level_change or len(levels) < 2:
        return positions + float(np.median(levels - positions))
    steps = np.log(np.linalg.norm(np.diff(centres_mm, axis=0), axis=1))
    count = len(steps)
    costs = []
    for first in range(max(1, len(_USUAL_STEPS_MM) - count + 1)):
        ratio = steps[: len(_USUAL_STEPS_MM)] - np.log(_USUAL_STEPS_MM[first : first + count])
        size = float(np.median(ratio))
        misfit = np.minimum(((ratio - size) / options.step_spread) ** 2, 9.0).sum()
        costs.append(misfit + (size / BODY_SIZE_SPREAD) ** 2)
    return positions + int(np.argmin(costs))


def coordinate_of_levels(levels: np.ndarray, core_levels: np.ndarray) -> np.ndarray:
    """Return the spine coordinate of levels, (n,).

    Args:
        levels: Expected levels of voxels, (n,).
        core_levels: Expected level of each core, (cores,); they must not all be equal.
    """
    count = len(core_levels)
    # Interpolation needs rising levels, so a core below a lower one gets the same level.
    rising = np.maximum.accumulate(core_levels + 1e-3 * np.arange(count))
    coordinate = np.interp(levels, rising, np.arange(1.0, count + 1))
    above, below = levels < rising[0], levels > rising[-1]
    coordinate[above] = 1 + (levels - rising[0])[above]
    coordinate[below] = count + (levels - rising[-1])[below]
    return coordinate
