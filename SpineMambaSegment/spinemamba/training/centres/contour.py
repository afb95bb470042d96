"""Closed contours around a point of a slice, by dynamic programming over radii."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

ANGLES = np.arange(96) * 2 * np.pi / 96
"""Directions of the radii, from the back of the body upwards."""

_SCALES = np.linspace(0.62, 1.38, 77)
"""Radii that are tried, relative to those that are expected."""

_LARGEST_JUMP = 2
_JUMP_COST = 0.02
"""Change of the radius between neighbouring directions in steps of `_SCALES`, and its cost."""

_INSIDE_MM = (0.8, 1.6, 2.6, 4.0)
_OUTSIDE_MM = (0.2, 0.9)
"""Marrow is compared with cortex along each radius at these distances from the contour."""

_BRIGHT = 1.35
_BRIGHT_COST = 0.35
"""Brighter voxels than this multiple of marrow are fat or fluid: a contour that passes a rim of
them in front or behind has left the body."""

_SHRINK_MM = 0.3
"""The largest contrast is in the cortex, this far outside of the surface of marrow."""


@dataclass(frozen=True)
class Frame:
    """A body in one sagittal slice; vectors are (z, y).

    Attributes:
        step_mm: Voxel spacing.
        centre_mm: Centre.
        up: Direction of the head.
        back: Direction of the back.
    """

    step_mm: np.ndarray
    centre_mm: np.ndarray
    up: np.ndarray
    back: np.ndarray

    @property
    def directions(self) -> np.ndarray:
        """Direction of each radius, (angles, 2)."""
        return np.cos(ANGLES)[:, None] * self.back + np.sin(ANGLES)[:, None] * self.up


def rounded_box(half_depth_mm: float, half_height_mm: float) -> np.ndarray:
    """Return the radii of a superellipse, the expected shape of a body."""
    across, along = np.abs(np.cos(ANGLES)) / half_depth_mm, np.abs(np.sin(ANGLES)) / half_height_mm
    return (across**5 + along**5) ** (-1 / 5)


def find_contour(
    slice_: np.ndarray, frame: Frame, expected_mm: np.ndarray, marrow: float, trust: float
) -> tuple[np.ndarray, float]:
    """Return the contour of a body in a slice.

    Args:
        slice_: Image (z, y).
        frame: Where the body is.
        expected_mm: Expected radii.
        marrow: Signal of marrow.
        trust: Cost of deviations from the expected radii.

    Returns:
        Radii in mm, and the mean step of the signal over the contour relative to marrow: near zero
        if the slice does not show the body.
    """
    radii = expected_mm[:, None] * _SCALES  # (angles, scales)

    def at(distance: np.ndarray) -> np.ndarray:
        points = frame.centre_mm + distance[..., None] * frame.directions[:, None]
        return ndimage.map_coordinates(
            slice_, np.moveaxis(points / frame.step_mm, -1, 0), order=1, mode="nearest"
        )

    inside = np.mean([at(radii - mm) for mm in _INSIDE_MM], axis=0)
    outside = np.mean([at(radii + mm) for mm in _OUTSIDE_MM], axis=0)
    contrast = (inside - outside) / marrow
    bright = np.clip(at(radii) / marrow - _BRIGHT, 0, 1.5) * np.diff(radii[:, :2])
    facing = np.clip((np.abs(np.cos(ANGLES)) - 0.45) / 0.3, 0, 1)[:, None]
    cost = -contrast + trust * 25 * (_SCALES - 1) ** 2
    path = closed_path(cost + _BRIGHT_COST * facing * np.cumsum(bright, axis=1))
    rows = np.arange(len(ANGLES))
    smooth = ndimage.gaussian_filter1d(radii[rows, path], 1.0, mode="wrap")
    return smooth, float(contrast[rows, path].mean())


def closed_path(cost: np.ndarray) -> np.ndarray:
    """Return the column of each row on the cheapest path that ends where it starts.

    The first pass starts anywhere; its column half-way round is where the second one starts and
    ends. Neighbouring rows differ by at most `_LARGEST_JUMP` columns.
    """
    half = len(cost) // 2
    start = _open_path(np.roll(cost, -half, axis=0))[-half % len(cost)]
    fixed = cost.copy()
    fixed[0] += 1e3
    fixed[0, start] -= 1e3
    return _open_path(np.vstack([fixed, fixed[:1]]))[:-1]


def _open_path(cost: np.ndarray) -> np.ndarray:
    rows, columns = cost.shape
    jumps = np.arange(-_LARGEST_JUMP, _LARGEST_JUMP + 1)
    source = np.arange(columns)[:, None] - jumps  # (columns, jumps)
    valid = (source >= 0) & (source < columns)
    source = source.clip(0, columns - 1)
    fee = np.where(valid, _JUMP_COST * jumps**2, np.inf)
    total, origin = cost[0], np.zeros((rows, columns), int)
    for row in range(1, rows):
        options = total[source] + fee
        best = options.argmin(axis=1)
        origin[row] = source[np.arange(columns), best]
        total = options[np.arange(columns), best] + cost[row]
    path = np.empty(rows, int)
    path[-1] = total.argmin()
    for row in range(rows - 1, 0, -1):
        path[row - 1] = origin[row, path[row]]
    return path


def filled(shape: tuple[int, int], frame: Frame, radii_mm: np.ndarray) -> np.ndarray:
    """Return the mask of the marrow inside of a contour, (z, y)."""
    z, y = np.mgrid[: shape[0], : shape[1]]
    offset = np.stack([z, y], axis=-1) * frame.step_mm - frame.centre_mm
    angle = np.mod(np.arctan2(offset @ frame.up, offset @ frame.back), 2 * np.pi)
    around = np.interp(angle, [*ANGLES, 2 * np.pi], [*radii_mm, radii_mm[0]])
    return np.linalg.norm(offset, axis=-1) < around - _SHRINK_MM


def recentred(frame: Frame, radii_mm: np.ndarray) -> tuple[Frame, float, float]:
    """Return the frame at the centroid of a contour, and the half depth and height there."""
    points = radii_mm[:, None] * frame.directions
    area = (radii_mm**2)[:, None]
    shift = (2 / 3 * points * area).sum(axis=0) / area.sum()
    moved = Frame(frame.step_mm, frame.centre_mm + shift, frame.up, frame.back)
    across, along = (points - shift) @ frame.back, (points - shift) @ frame.up
    depth, height = (float(np.ptp(np.percentile(v, (3, 97)))) / 2 for v in (across, along))
    return moved, depth, height
