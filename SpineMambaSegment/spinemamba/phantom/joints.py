"""Facet joints: where each vertebra meets the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.phantom.parameters import Shape


@dataclass(frozen=True)
class Joint:
    """A facet joint, as seen from either of its vertebrae.

    Attributes:
        x: Distance of its centre from the middle.
        y: Its centre.
        turn_deg: 0 is a sagittal joint, 90 a coronal one.
        tilt_deg: How far the joint leans: 0 is upright.
        half: Half of its processes' thickness, width and height.
    """

    x: float
    y: float
    turn_deg: float
    tilt_deg: float
    half: tuple[float, float, float]

    def axes(self, side: float) -> np.ndarray:
        """Return rows: from the upper vertebra's process to the lower's, across, and along."""
        a, b = np.radians(self.turn_deg), np.radians(self.tilt_deg)
        normal = np.array([side * np.cos(a) * np.cos(b), -np.sin(a) * np.cos(b), -np.sin(b)])
        across = np.array([np.sin(a), side * np.cos(a), 0.0])
        return np.stack([normal, across, np.cross(normal, across)])


def joint_below(name: str, shape: Shape) -> Joint:
    """Return the joint with the next level, by the shape of either vertebra."""
    half_canal = shape.canal_width / 2
    if name[0] == "C" and name != "C7":
        return Joint(half_canal + 7.0, shape.canal_y - 0.5, 85.0, 42.0, (3.7, 7.0, 7.0))
    if name in ("T12", "T13") or name[0] == "L":
        number = 0 if name[0] == "T" else int(name[1])
        y = shape.canal_y + 0.52 * shape.canal_depth
        return Joint(half_canal + 4.0, y, 26.0 + 5.0 * number, 4.0, (4.0, 7.2, 9.2))
    y = shape.canal_y + 0.45 * shape.canal_depth
    return Joint(half_canal + 1.5, y, 76.0, 18.0, (2.5, 5.4, 6.8))
