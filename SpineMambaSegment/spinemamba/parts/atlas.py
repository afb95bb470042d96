"""Divide C1 into its arches, lateral masses and transverse processes."""

from __future__ import annotations

import numpy as np

from spinemamba.anatomy.parts import ANTERIOR_ARCH, LATERAL_MASSES, POSTERIOR_ARCH, TRANSVERSE
from spinemamba.measure.frame import Frame
from spinemamba.measure.vertebra import Vertebra

_BIN_MM = 1.0
_TALL = 0.6
"""Height of a lateral mass, as share of its greatest; processes and arches are lower."""

_FRONT = 0.45
"""Share of the ring's depth in which the lateral masses face each other."""

_REACH_MM = 40.0
_RAYS_X_MM = (-8, -4, 0, 4, 8)
"""Where the depth of the ring is measured: the posterior arch may be open on the midline."""

_LEAST_WIDTH_MM = 50.0
"""Least width of a C1 that shows both transverse processes."""

_BETWEEN_MM = (5.0, 16.0)
"""Plausible distances of the lateral masses from the midline."""


def divide_atlas(vertebra: Vertebra, points_lps_mm: np.ndarray) -> np.ndarray:
    """Return the part of each voxel of C1, (n,) uint8.

    Args:
        vertebra: C1.
        points_lps_mm: Centres of its voxels, (n, 3).

    Raises:
        ValueError: If it is cut, or its ring is not recognisable; the message is the reason.
    """
    if vertebra.cut_sides:
        raise ValueError("cut by the image")
    frame = _frame(points_lps_mm)
    places = frame.to_local(points_lps_mm)
    x, y, z = np.abs(places[:, 0]), places[:, 1], places[:, 2]
    front, back, inner = _ring(vertebra, frame)
    beside = x > inner
    # Of the lateral mass: its lateral end near the middle of the ring, then its posterior end.
    middle = front + _FRONT * (back - front)
    outer = _last_tall(x[beside & (y < middle)], z[beside & (y < middle)])
    mass = beside & (x < outer)
    behind = _last_tall(y[mass], z[mass])
    left = places[:, 0] >= 0
    masses, transverse = (
        np.where(left, pair[0].value, pair[1].value) for pair in (LATERAL_MASSES, TRANSVERSE)
    )
    out = np.where(x > outer, transverse, masses)
    out[(x <= inner) & (y < middle)] = ANTERIOR_ARCH.value
    out[(x <= outer) & ((y > behind) | (~beside & (y >= middle)))] = POSTERIOR_ARCH.value
    return out.astype(np.uint8)


def _frame(points_lps_mm: np.ndarray) -> Frame:
    """Return the frame of a ring: its plane is that of least variance, and it is widest sideways.

    Raises:
        ValueError: If it is not as wide as a C1.
    """
    centre = points_lps_mm.mean(axis=0)
    axes = np.linalg.svd((points_lps_mm - centre)[:: max(1, len(points_lps_mm) // 5000)])[2]
    left, up = axes[0] * np.sign(axes[0][0]), axes[2] * np.sign(axes[2][2])
    frame = Frame.along(centre, up, np.cross(up, left))
    x = frame.to_local(points_lps_mm)[:, 0]
    if np.ptp(x) < _LEAST_WIDTH_MM or frame.axes_lps[0][0] <= 0:
        raise ValueError("its label is not a whole ring")
    return frame.moved(((x.max() + x.min()) / 2, 0.0, 0.0))


def _ring(vertebra: Vertebra, frame: Frame) -> tuple[float, float, float]:
    """Return Y of the front and back of the opening, and its half width in front.

    Raises:
        ValueError: If it is open.
    """
    patch = vertebra.patch
    starts = frame.to_lps(np.array([(x, 0.0, z) for x in _RAYS_X_MM for z in (-2, 0, 2)]))
    ends = []
    for sign in (-1, 1):
        distances = patch.entries_mm(starts, sign * frame.posterior, _REACH_MM)
        if np.isfinite(distances).sum() < len(distances) / 3:
            raise ValueError("its ring is open")
        ends.append(sign * float(np.nanmedian(distances)))
    front, back = ends
    depths = np.linspace(front + 2.0, front + _FRONT * (back - front), 8)
    beside = frame.to_lps(np.array([(0.0, y, z) for y in depths for z in (-3, 0, 3)]))
    widths = [patch.entries_mm(beside, s * frame.axes_lps[0], _REACH_MM) for s in (1, -1)]
    inner = float(np.nanmedian(widths))
    if not _BETWEEN_MM[0] <= inner <= _BETWEEN_MM[1]:
        raise ValueError("its lateral masses are not recognisable")
    return front, back, inner


def _last_tall(along_mm: np.ndarray, z_mm: np.ndarray) -> float:
    """Return how far the bone is nearly as tall as at its tallest.

    Args:
        along_mm: Position of voxels along an axis, (n,).
        z_mm: Their heights.

    Raises:
        ValueError: If there is no bone.
    """
    if not len(along_mm):
        raise ValueError("its lateral masses are not recognisable")
    first = float(along_mm.min())
    index = ((along_mm - first) / _BIN_MM).astype(int)
    low, high = np.full(index.max() + 1, np.inf), np.full(index.max() + 1, -np.inf)
    np.minimum.at(low, index, z_mm)
    np.maximum.at(high, index, z_mm)
    tall = high - low
    known = np.isfinite(tall)
    peak = int(np.argmax(np.where(known, tall, -1.0)))
    lower = np.flatnonzero((tall < _TALL * tall[peak]) & known & (np.arange(len(tall)) > peak))
    end = int(lower[0]) if len(lower) else len(tall)
    return first + end * _BIN_MM
