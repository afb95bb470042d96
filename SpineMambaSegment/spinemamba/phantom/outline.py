"""Outline of the body: the skin, slice by slice."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

from spinemamba.phantom.curve import Placed

_SECTIONS: tuple[tuple[str, float, float, float, float], ...] = (
    ("C1", 190.0, 30, 30, 30),
    ("C1", 120.0, 78, 92, 92),
    ("C1", 40.0, 76, 88, 98),
    ("C2", 0.0, 70, 66, 92),
    ("C4", 0.0, 62, 60, 62),
    ("C6", 0.0, 66, 62, 52),
    ("C7", 0.0, 90, 66, 56),
    ("T1", 0.0, 140, 70, 70),
    ("T3", 0.0, 185, 76, 98),
    ("T5", 0.0, 178, 76, 125),
    ("T8", 0.0, 165, 74, 148),
    ("T11", 0.0, 155, 74, 150),
    ("L1", 0.0, 150, 82, 135),
    ("L3", 0.0, 148, 92, 120),
    ("Sacrum", 25.0, 162, 92, 118),
    ("Sacrum", -40.0, 178, 80, 125),
    ("Sacrum", -130.0, 182, 90, 110),
    ("Sacrum", -260.0, 175, 90, 100),
)
"""Level, mm above it, half width, and distances from the vertebral body to back and front."""

POWER = 2.4


class Outline:
    """Outline of the body: a superellipse in each slice."""

    def __init__(self, chain: list[Placed], scale: float, rng: np.random.Generator):
        origins = {p.name: p.frame.origin for p in chain}
        girth = scale * rng.uniform(0.9, 1.12)
        belly = rng.uniform(0.85, 1.2)
        rows = [
            (origins[n][2] + up * scale, w * girth, b * scale, f * girth * (belly if f > 99 else 1))
            for n, up, w, b, f in _SECTIONS
        ]
        rows.sort()
        table = np.array(rows)
        self._section = PchipInterpolator(table[:, 0], table[:, 1:], axis=0)
        self._range = table[0, 0], table[-1, 0]
        spine = np.array([p.frame.origin for p in chain])[::-1]
        heights = np.arange(self._range[0], self._range[1], 5.0)
        line = [np.interp(heights, spine[:, 2], spine[:, k]) for k in (0, 1)]
        line = ndimage.gaussian_filter1d(np.array(line), 6.0, axis=1, mode="nearest")
        self._line = heights, line
        self.fat_mm = float(rng.uniform(6, 26)) * scale
        self.scale = scale

    def at(self, z: float) -> tuple[float, float, float, float]:
        """Return centre x, centre y, half width and half depth of the skin at a height in mm."""
        z = float(np.clip(z, *self._range))
        half_width, back, front = self._section(z)
        heights, line = self._line
        x, y = (float(np.interp(z, heights, v)) for v in line)
        return 0.7 * x, y + (back - front) / 2, float(half_width), (back + front) / 2

    def spine_at(self, z: float) -> tuple[float, float]:
        """Return x and y of the smoothed spine at a height."""
        heights, line = self._line
        return tuple(float(np.interp(z, heights, v)) for v in line)

    def extent(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the corners (x, y) of the body between two heights, with a margin of air."""
        rows = np.array([self.at(z) for z in np.linspace(low, high, 24)])
        lower = (rows[:, :2] - rows[:, 2:]).min(axis=0) - 10.0
        upper = (rows[:, :2] + rows[:, 2:]).max(axis=0) + np.array([10.0, 28.0])
        return lower, upper

    def inner(self, z: float, angle: np.ndarray, depth_mm: float) -> np.ndarray:
        """Return points (n, 3) at a depth below the skin; angle 0 is posterior, pi anterior."""
        x, y, w, d = self.at(z)
        w, d = w - depth_mm, d - depth_mm
        s, c = np.sin(angle), np.cos(angle)
        r = ((np.abs(s) / w) ** POWER + (np.abs(c) / d) ** POWER) ** (-1 / POWER)
        return np.stack([x + r * s, y + r * c, np.full_like(s, z)], axis=-1)
