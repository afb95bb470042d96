"""The chain of vertebrae: positions and orientations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.phantom.options import PhantomOptions
from spinemamba.phantom.parameters import SHAPES, Shape, draw_shape
from spinemamba.phantom.sdf import Frame

STEPS: dict[str, tuple[float, float]] = {
    "C1": (17.1, 10.0),
    "C2": (18.45, 5.2),
    "C3": (15.87, 9.9),
    "C4": (16.06, 14.0),
    "C5": (16.1, 19.0),
    "C6": (17.72, 29.3),
    "C7": (18.78, 31.2),
    "T1": (20.9, 28.0),
    "T2": (22.23, 27.3),
    "T3": (22.31, 22.2),
    "T4": (22.82, 16.3),
    "T5": (23.47, 11.2),
    "T6": (24.04, 5.6),
    "T7": (24.33, -0.6),
    "T8": (24.86, -3.5),
    "T9": (25.68, -6.9),
    "T10": (27.59, -10.0),
    "T11": (29.83, -10.5),
    "T12": (32.0, -10.0),
    "T13": (33.5, -12.0),
    "L1": (33.39, -12.8),
    "L2": (34.14, -10.2),
    "L3": (33.82, -5.0),
    "L4": (31.66, 5.7),
    "L5": (30.5, 22.0),
    "L6": (29.5, 24.0),
}
"""Distance from each level to the next in mm, and its angle towards posterior in degrees.

Means over 113 chains of VerSe 2020 (CC BY-SA 4.0, Sekuboyina et al. 2021); the step to the
sacrum is an estimate.
"""

_SACRAL_TILT_DEG = 43.0
_PLATE_SHARE = 0.6
"""Share of the angle between neighbours that the endplates take up; discs take up the rest."""


@dataclass(frozen=True)
class Placed:
    """A vertebra with its position.

    Attributes:
        name: Level.
        frame: Local frame with the origin at the centre of the body.
        shape: Sizes.
        top: Slope of the upper endplate along X and Y.
        bottom: Slope of the lower endplate along X and Y.
    """

    name: str
    frame: Frame
    shape: Shape
    top: tuple[float, float]
    bottom: tuple[float, float]


def landmarks(chain: list[Placed]) -> dict[str, Placed]:
    """Return the vertebrae by name; the level above replaces a missing T12 or L5."""
    by_name = {placed.name: placed for placed in chain}
    by_name.setdefault("T12", by_name["T11"])
    by_name.setdefault("L5", by_name["L4"])
    return by_name


def draw_chain(options: PhantomOptions, scale: float, rng: np.random.Generator) -> list[Placed]:
    """Return a complete spine, C1 to sacrum, with C1 at the origin.

    Args:
        options: Numbers of vertebrae and strength of the curves.
        scale: Size of the patient.
        rng: Random generator.
    """
    names = options.all_levels
    distance = np.array([STEPS[n][0] for n in names[:-1]]) * scale
    distance *= rng.normal(1.0, 0.03, len(distance))
    step = np.stack(_angles(options, names, rng), axis=1)  # (steps, 2): lateral, sagittal
    body = np.concatenate([step[:1], (step[1:] + step[:-1]) / 2, step[-1:]])
    body[-1, 1] += np.radians(_SACRAL_TILT_DEG - STEPS["L5"][1])
    twist = 0.3 * (body[:, 0] - body[:, 0].mean())
    wear = float(rng.uniform())
    origins = np.zeros((len(names), 3))
    origins[1:] = np.cumsum(distance[:, None] * -_up(step), axis=0)
    return [
        Placed(
            name,
            _frame(origins[k], body[k], twist[k]),
            draw_shape(name, _height(names, distance, k), scale, wear, rng),
            _slope(step[k - 1] - body[k]) if k else (0.0, 0.0),
            _slope(step[k] - body[k]) if k < len(step) else (0.0, 0.0),
        )
        for k, name in enumerate(names)
    ]


def _angles(
    options: PhantomOptions, names: list[str], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lateral and the sagittal angle of every step in radians."""
    count = len(names) - 1
    gain = options.kyphosis if options.kyphosis is not None else rng.normal(1.0, 0.2)
    cobb = options.scoliosis_deg
    cobb = cobb if cobb is not None else min(rng.exponential(6.0), 40.0)
    sagittal = np.array([STEPS[n][1] for n in names[:-1]])
    sagittal = sagittal.mean() + gain * (sagittal - sagittal.mean())
    sagittal = sagittal + rng.normal(0, 2.0) + _wander(count, 2.5, rng)
    waves = rng.uniform(1.0, 2.5)
    phase = rng.uniform(0, 2 * np.pi)
    lateral = cobb / 2 * np.sin(2 * np.pi * waves * np.arange(count) / count + phase)
    # The head stays above the pelvis: the mean lateral angle is zero.
    lateral = lateral - lateral.mean() + _wander(count, 1.2, rng)
    return np.radians(lateral), np.radians(sagittal)


def _wander(count: int, sd: float, rng: np.random.Generator, memory: float = 0.75) -> np.ndarray:
    """Return an autoregressive series with zero mean."""
    steps = rng.normal(0, sd * np.sqrt(1 - memory**2), count)
    out = np.zeros(count)
    value = rng.normal(0, sd)
    for k in range(count):
        value = memory * value + steps[k]
        out[k] = value
    return out


def _up(angles: np.ndarray) -> np.ndarray:
    """Return superior unit vectors (..., 3) in LPS for (lateral, sagittal) angles."""
    lateral, sagittal = angles[..., 0], angles[..., 1]
    flat = np.cos(sagittal)
    return np.stack([np.sin(lateral) * flat, -np.sin(sagittal), np.cos(lateral) * flat], axis=-1)


def _frame(origin: np.ndarray, angles: np.ndarray, twist: float) -> Frame:
    up = _up(angles)
    left = np.array([np.cos(twist), np.sin(twist), 0.0])
    left = left - up * (left @ up)
    left /= np.linalg.norm(left)
    return Frame(origin, np.stack([left, np.cross(up, left), up]))


def _slope(turn: np.ndarray) -> tuple[float, float]:
    lateral, sagittal = np.clip(_PLATE_SHARE * turn, -0.2, 0.2)
    return float(-np.tan(lateral)), float(np.tan(sagittal))


def _height(names: list[str], distance: np.ndarray, k: int) -> float:
    """Return the height of a body: the distance between levels minus the discs."""
    below = SHAPES[names[k]].disc
    above = SHAPES[names[max(k - 1, 0)]].disc
    scale = distance[min(k, len(distance) - 1)] / STEPS[names[min(k, len(distance) - 1)]][0]
    if names[k] == "Sacrum":
        return float(2 * (distance[-1] / 2 - above * scale / 2))
    before = distance[k - 1] if k > 1 else distance[k]
    return float((before + distance[k]) / 2 - (below + above) / 2 * scale)
