"""Smooth centre line through the vertebral bodies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

_SMOOTH_MM = 8.0
"""Standard deviation of the Gaussian that smooths the line."""

_BEYOND_MM = 30.0
"""Straight extension at both ends: the lateral masses of C1 lie above the highest body."""


@dataclass(frozen=True)
class CentreLine:
    """A line from cranial to caudal.

    Attributes:
        points_mm: Points at 1 mm distance, (n, 3) along z, y, x.
    """

    points_mm: np.ndarray

    def project(self, points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the position along the line and the distance from it, both (n,) in mm.

        The distance of points beyond the ends is infinite.

        Args:
            points_mm: Points (n, 3).
        """
        aside, nearest = cKDTree(self.points_mm).query(points_mm)
        beyond = (nearest == 0) | (nearest == len(self.points_mm) - 1)
        return nearest.astype(float), np.where(beyond, np.inf, aside)


def line_through(places_mm: np.ndarray) -> CentreLine:
    """Return the smooth line through points (n, 3) along z, y, x, from cranial to caudal."""
    return CentreLine(_smooth_line(places_mm))


def _smooth_line(path_mm: np.ndarray) -> np.ndarray:
    """Smooth a polyline, extend it at both ends, and resample it to 1 mm."""
    if len(path_mm) == 1:
        path_mm = path_mm + np.array([[0.5, 0, 0], [-0.5, 0, 0]])
    line = _resample(path_mm)
    # With odd reflection at the ends, a straight line stays straight.
    reach = round(3 * _SMOOTH_MM)
    padded = np.pad(line, ((reach, reach), (0, 0)), mode="reflect", reflect_type="odd")
    line = ndimage.gaussian_filter1d(padded, _SMOOTH_MM, axis=0)[reach:-reach]
    down = _direction(line[: reach + 1]), _direction(line[-reach - 1 :])
    ends = line[0] - _BEYOND_MM * down[0], line[-1] + _BEYOND_MM * down[1]
    return _resample(np.concatenate([ends[:1], line, ends[1:]]))


def _direction(line: np.ndarray) -> np.ndarray:
    step = line[-1] - line[0]
    return step / max(float(np.linalg.norm(step)), 1e-6)


def _resample(points: np.ndarray) -> np.ndarray:
    """Return points at 1 mm distance on a polyline."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    places = np.arange(0.0, max(along[-1], 2.0), 1.0)
    return np.stack([np.interp(places, along, points[:, a]) for a in range(3)], axis=-1)
