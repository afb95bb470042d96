"""Facet joints between neighbouring vertebrae."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.phantom.parameters import Shape


@dataclass(frozen=True)
class Joint:
    """A facet joint, in the frame of either vertebra.

    Attributes:
        x: Distance of its centre from the midsagittal plane.
        y: Y of its centre.
        turn_deg: Rotation about Z: 0 is sagittal, 90 coronal.
        tilt_deg: Inclination: 0 is vertical.
        half: Half of the thickness, width and height of the articular processes.
    """

    x: float
    y: float
    turn_deg: float
    tilt_deg: float
    half: tuple[float, float, float]

    def axes(self, side: float) -> np.ndarray:
        """Return rows: normal from the upper process to the lower one, and two in-plane axes."""
        a, b = np.radians(self.turn_deg), np.radians(self.tilt_deg)
        normal = np.array([side * np.cos(a) * np.cos(b), -np.sin(a) * np.cos(b), -np.sin(b)])
        across = np.array([np.sin(a), side * np.cos(a), 0.0])
        return np.stack([normal, across, np.cross(normal, across)])


def joint_below(name: str, shape: Shape) -> Joint:
    """Return the joint with the level below, for the shape of either vertebra."""
    half_canal = shape.canal_width / 2
    if name[0] == "C" and name != "C7":
        return Joint(half_canal + 7.0, shape.canal_y - 0.5, 85.0, 42.0, (3.7, 7.0, 7.0))
    if name in ("T12", "T13") or name[0] == "L":
        number = 0 if name[0] == "T" else int(name[1])
        y = shape.canal_y + 0.52 * shape.canal_depth
        return Joint(half_canal + 4.0, y, 26.0 + 5.0 * number, 4.0, (4.0, 7.2, 9.2))
    y = shape.canal_y + 0.45 * shape.canal_depth
    return Joint(half_canal + 1.5, y, 76.0, 18.0, (2.5, 5.4, 6.8))
