"""The spinal canal behind one body: a prism along the axis of the vertebra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.measure.body import Body
from spinemamba.parts.bone_field import BoneField
from spinemamba.parts.sections import CIRCLE, DIRECTIONS, first_exit

_REACH_MM, _RAY_MM = 18.0, 0.4
_BEHIND_MM = 5.0
"""First guess of the middle of the canal, behind the posterior wall."""

_PERCENTILE = 25.0
"""Of the distances over all heights: the arch covers each direction at some heights only."""

_LEAST_CLOSED = 0.6
"""Smallest share of the directions in which bone bounds the canal."""


@dataclass(frozen=True)
class Canal:
    """Outline of the canal across the axis of a vertebra.

    Attributes:
        middle_mm: Middle of the canal, left and posterior in the frame of the vertebra, (2,).
        radii_mm: Distance to its border in `DIRECTIONS` (from left to posterior), (n,).
    """

    middle_mm: np.ndarray
    radii_mm: np.ndarray

    def depth_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Return how far local points (..., 3) lie within the canal; negative outside.

        Outside, the distance is measured towards the middle, which is never less than the true
        distance by more than the obliqueness of the border; it is reduced accordingly.
        """
        offset = np.asarray(points_mm, float)[..., :2] - self.middle_mm
        angle = np.arctan2(offset[..., 1], offset[..., 0])
        border = np.interp(angle, DIRECTIONS, self.radii_mm, period=2 * np.pi)
        outline = self.middle_mm + self.radii_mm[:, None] * CIRCLE
        flat = np.asarray(points_mm, float)[..., :2].reshape(-1, 2)
        following = np.roll(outline, -1, axis=0)
        nearest = _to_segments(flat, outline, following).reshape(angle.shape)
        return np.where(np.hypot(offset[..., 0], offset[..., 1]) < border, nearest, -nearest)


def _to_segments(points: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the distance of points (n, 2) to the nearest of some segments."""
    along = ends - starts
    offset = points[:, None] - starts
    share = (offset * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-12)
    gap = offset - np.clip(share, 0, 1)[..., None] * along
    return np.sqrt((gap**2).sum(axis=-1)).min(axis=1)


def find_canal(field: BoneField, body: Body) -> Canal:
    """Return the canal of a vertebra.

    Rays from its middle meet bone at some heights: the wall of the body, the pedicles, the laminae.
    The outline is that of the narrow heights.

    Raises:
        ValueError: If the arch does not enclose a canal.
    """
    extent = body.extent
    heights = np.arange(-1.4 * extent.half_height_mm, extent.half_height_mm, 1.0)
    middle = np.array([0.0, extent.half_depth_mm + _BEHIND_MM])
    for _ in range(3):
        radii = _outline(field, middle, heights)
        closed = np.isfinite(radii)
        if closed.mean() < _LEAST_CLOSED:
            raise ValueError("the arch does not enclose the canal")
        radii = np.interp(DIRECTIONS, DIRECTIONS[closed], radii[closed], period=2 * np.pi)
        points = radii[:, None] * CIRCLE
        middle = middle + (points.max(axis=0) + points.min(axis=0)) / 2
    return Canal(middle, _outline_filled(field, middle, heights))


def _outline_filled(field: BoneField, middle: np.ndarray, heights: np.ndarray) -> np.ndarray:
    radii = _outline(field, middle, heights)
    closed = np.isfinite(radii)
    return np.interp(DIRECTIONS, DIRECTIONS[closed], radii[closed], period=2 * np.pi)


def _outline(field: BoneField, middle: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Return the distance to bone in each direction; NaN where there is none."""
    steps = np.arange(0.0, _REACH_MM, _RAY_MM)
    places = middle + steps[:, None] * CIRCLE[:, None]
    points = np.empty((len(heights), *places.shape[:2], 3))
    points[..., :2], points[..., 2] = places, heights[:, None, None]
    depth = field.at(points)
    hits = first_exit(-depth, _RAY_MM)
    hits = np.where(np.isfinite(hits) & (hits > 0), hits, np.nan)
    enough = np.isfinite(hits).sum(axis=0) >= 3
    out = np.full(len(DIRECTIONS), np.nan)
    out[enough] = np.nanpercentile(hits[:, enough], _PERCENTILE, axis=0)
    return out
