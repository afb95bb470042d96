"""The surface between two neighbouring vertebrae: a disc in front, and behind it a known bend.

How far down the cut runs behind the bodies is much the same in all people: in the thorax, processes
slope down over the vertebra below; to the sides, the joint rises. In the frame of two cores, with
``t`` along the spine in steps between them (0 in the middle), ``b`` backwards in 30 mm and ``s``
sideways in 20 mm, the surface is

    t = c0 + c1 b + c2 s + c3 b^2 + c4 |s| + c5 b |s| + c6 s^2

The usual coefficients were fitted by Testing/Fitting/fit_cut_surfaces.py to the label maps gl003,
verse004, verse005, verse008, verse009 and verse010 (VerSe, CC BY-SA 4.0: Sekuboyina et al.,
10.1016/j.media.2021.102166) and lidc0001, 58 surfaces; to none of a case kept for testing. Each
spine then gets its own: a disc is tilted, and a core lies off the middle.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

BACK_MM, SIDE_MM = 30.0, 20.0
FARTHEST = (3.5, 3.0)
"""Nothing is known of surfaces further back and to the side, in these units."""

MEAN_AT = (0.0, 1.0, 4.0, 6.5, 10.0, 14.0, 17.0, 19.0, 21.0, 24.0)
"""Place of the upper vertebra from head to tail, C1 is 0, at which `MEAN` holds."""

MEAN = np.array(
    [
        (0.0, -0.36, 0.0, 0.61, 1.00, -0.02, -0.16),
        (0.0, -0.21, 0.0, 0.62, -0.21, 0.18, 0.11),
        (0.0, -0.47, 0.0, 0.47, -0.37, 0.44, 0.07),
        (0.0, -0.11, 0.0, 0.39, -0.01, -0.49, -0.02),
        (0.0, -0.06, 0.0, 0.58, 0.08, -0.67, -0.04),
        (0.0, -0.04, 0.0, 0.42, -0.09, -0.48, 0.14),
        (0.0, 0.05, 0.0, 0.10, -0.04, -0.31, 0.01),
        (0.0, 0.10, 0.0, 0.03, -0.06, -0.27, 0.05),
        (0.0, 0.04, 0.0, 0.08, 0.0, -0.14, -0.04),
        (0.0, 0.03, 0.0, 0.25, 0.29, -0.09, -0.18),
    ]
)
"""Coefficients c0 to c6."""

OWN = np.array([1.0, 1.0, 2.0, 40.0, 40.0, 40.0, 40.0])
"""How dear it is to depart from the usual coefficients: place and tilt are each spine's own."""

STEEPNESS = 8.0
"""Of the likelihood that a voxel lies on its side, per step between two cores."""

REACH = 1.5
"""Steps along the spine: voxels further from a surface say nothing of it."""

NEWTON_STEPS = 12
LEAST_CURVATURE = 0.03
LEAST_VOXELS = 50
MOST_VOXELS = 4000
"""A surface of seven numbers needs no more."""


@dataclass(frozen=True)
class Frame:
    """Where two neighbouring cores lie: the middle between them, three directions, their distance.

    All along z, y, x in millimetres.
    """

    middle_mm: np.ndarray
    down: np.ndarray
    back: np.ndarray
    side: np.ndarray
    step_mm: float

    def terms(self, points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``t`` (n,) and the terms of the surface (n, 7) at points (n, 3)."""
        offset = points_mm - self.middle_mm
        b = np.clip(offset @ self.back / BACK_MM, -FARTHEST[0], FARTHEST[0])
        s = np.clip(offset @ self.side / SIDE_MM, -FARTHEST[1], FARTHEST[1])
        apart = np.abs(s)
        terms = [np.ones(len(b)), b, s, b * b, apart, b * apart, s * s]
        return offset @ self.down / self.step_mm, np.stack(terms, axis=-1)


def frames(centres_mm: np.ndarray) -> list[Frame]:
    """Return the frame of each pair of neighbouring cores, from centres (n, 3) head to tail."""
    out = []
    for upper, lower in itertools.pairwise(centres_mm):
        step_mm = float(np.linalg.norm(lower - upper))
        down = (lower - upper) / step_mm
        back = np.array([0.0, 1.0, 0.0]) - down[1] * down
        back /= max(float(np.linalg.norm(back)), 1e-6)
        out.append(Frame((upper + lower) / 2, down, back, np.cross(down, back), step_mm))
    return out


def mean_coefficients(places: np.ndarray) -> np.ndarray:
    """Return the usual coefficients below vertebrae at places from head to tail, (n, 7)."""
    return np.stack([np.interp(places, MEAN_AT, column) for column in MEAN.T], axis=-1)


def fit_surfaces(
    points_mm: np.ndarray,
    numbers: np.ndarray,
    pairs: list[Frame],
    usual: np.ndarray,
    dear: np.ndarray = OWN,
) -> np.ndarray:
    """Return the coefficients that part voxels best, not far from the usual ones, (pairs, 7).

    Args:
        points_mm: Voxels, (n, 3).
        numbers: Vertebra of each, from 1, (n,).
        pairs: Frames of the neighbours.
        usual: Their usual coefficients.
        dear: How dear it is to depart from each of the usual coefficients, (7,).
    """
    out = usual.copy()
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(1, len(pairs) + 3))
    for k, frame in enumerate(pairs):
        chosen = order[bounds[k] : bounds[k + 2]]
        chosen = chosen[:: max(1, len(chosen) // MOST_VOXELS)]
        place, terms = frame.terms(points_mm[chosen])
        near = np.abs(place) < REACH
        if near.sum() >= LEAST_VOXELS:
            lower = (numbers[chosen] == k + 2)[near]
            told = place[near], terms[near], lower.astype(float)
            out[k] = _fit(told, usual[k], dear)
    return out


def _fit(
    told: tuple[np.ndarray, np.ndarray, np.ndarray], usual: np.ndarray, dear: np.ndarray
) -> np.ndarray:
    """Return the coefficients of a logistic regression with a prior, by Newton's method."""
    place, terms, lower = told
    own = usual.copy()
    for _ in range(NEWTON_STEPS):
        margin = np.clip(STEEPNESS * (place - terms @ own), -30, 30)
        expected = 1 / (1 + np.exp(-margin))
        slope = STEEPNESS * terms.T @ (lower - expected) / len(place) + 2 * dear * (own - usual)
        # Not flatter than this, or a first step from far away overshoots.
        certain = np.maximum(expected * (1 - expected), LEAST_CURVATURE)
        bend = STEEPNESS**2 * (terms.T * certain) @ terms / len(place) + 2 * np.diag(dear)
        own -= np.linalg.solve(bend, slope)
    return own
