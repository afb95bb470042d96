"""Cut surfaces: parametric surfaces between neighbouring vertebrae.

In front, a cut surface follows the disc. Its shape behind the bodies is similar in all people: in
the thorax, processes slope down over the vertebra below; laterally, the joint rises. Coordinates in
the frame of two cores are ``t`` along the spine in units of the core distance (0 in the middle),
``b`` backwards in units of 30 mm, and ``s`` sideways in units of 20 mm. The surface is

    t = c0 + c1 b + c2 s + c3 b^2 + c4 |s| + c5 b |s| + c6 s^2

The mean coefficients were fitted by Testing/Fitting/fit_cut_surfaces.py to the label maps gl003,
verse004, verse005, verse008, verse009 and verse010 (VerSe, CC BY-SA 4.0: Sekuboyina et al.,
10.1016/j.media.2021.102166) and lidc0001 (58 surfaces, no test case). They are the prior
mean of the surfaces fitted to each spine, whose discs are tilted and whose cores are off centre.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from spinemamba.instances.logistic_regression import NewtonOptions, logistic_fit

_BACK_MM, _SIDE_MM = 30.0, 20.0
_COORDINATE_LIMITS = (3.5, 3.0)
"""Limits of ``b`` and of ``s``; surfaces are constant beyond."""

MEAN_AT = (0.0, 1.0, 4.0, 6.5, 10.0, 14.0, 17.0, 19.0, 21.0, 24.0)
"""Index of the level of the upper vertebra, C1 is 0, for each row of `MEAN`."""

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
"""Mean shape: coefficients c0 to c6."""


@dataclass(frozen=True)
class SurfaceFitOptions:
    """Options of the fit to labelled voxels.

    Attributes:
        prior_precision: Prior precision per coefficient: low for offset and tilt, which vary
            between patients.
        slope: Slope of the logistic likelihood of a voxel's side: logit per core distance.
        range_steps: Voxels further from a surface are not used to fit it, in core distances.
        least_voxels: Fewer voxels do not determine seven coefficients; the mean surface remains.
        most_voxels: More voxels are not needed.
        newton: Options of the iteration.
    """

    prior_precision: tuple[float, ...] = (1.0, 1.0, 2.0, 40.0, 40.0, 40.0, 40.0)
    slope: float = 8.0
    range_steps: float = 1.5
    least_voxels: int = 50
    most_voxels: int = 4000
    newton: NewtonOptions = field(default_factory=lambda: NewtonOptions(12, 0.03))


@dataclass(frozen=True)
class Frame:
    """Frame of two neighbouring cores; all vectors are along z, y, x.

    Attributes:
        middle_mm: Midpoint between the cores, (3,).
        down: Unit vector from the upper to the lower core, (3,).
        back: Unit vector backwards, perpendicular to ``down``, (3,).
        side: Unit vector to the side, perpendicular to both, (3,).
        step_mm: Distance of the cores.
    """

    middle_mm: np.ndarray
    down: np.ndarray
    back: np.ndarray
    side: np.ndarray
    step_mm: float

    def terms(self, points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``t`` (n,) and the terms of the surface (n, 7) at points (n, 3)."""
        offset = points_mm - self.middle_mm
        b = np.clip(offset @ self.back / _BACK_MM, -_COORDINATE_LIMITS[0], _COORDINATE_LIMITS[0])
        s = np.clip(offset @ self.side / _SIDE_MM, -_COORDINATE_LIMITS[1], _COORDINATE_LIMITS[1])
        lateral = np.abs(s)
        terms = [np.ones(len(b)), b, s, b * b, lateral, b * lateral, s * s]
        return offset @ self.down / self.step_mm, np.stack(terms, axis=-1)


def frames(centres_mm: np.ndarray) -> list[Frame]:
    """Return the frame of each pair of neighbouring cores.

    Args:
        centres_mm: Centres of the cores from head to tail, (n, 3).
    """
    out = []
    for upper, lower in itertools.pairwise(centres_mm):
        step_mm = float(np.linalg.norm(lower - upper))
        down = (lower - upper) / step_mm
        back = np.array([0.0, 1.0, 0.0]) - down[1] * down
        back /= max(float(np.linalg.norm(back)), 1e-6)
        out.append(Frame((upper + lower) / 2, down, back, np.cross(down, back), step_mm))
    return out


def mean_coefficients(positions: np.ndarray) -> np.ndarray:
    """Return the mean coefficients of the surfaces below vertebrae, (n, 7).

    Args:
        positions: Index of the level of each vertebra, C1 is 0, (n,).
    """
    return np.stack([np.interp(positions, MEAN_AT, column) for column in MEAN.T], axis=-1)


def fit_surfaces(
    points_mm: np.ndarray,
    numbers: np.ndarray,
    pairs: list[Frame],
    mean: np.ndarray,
    options: SurfaceFitOptions = SurfaceFitOptions(),
) -> np.ndarray:
    """Return the coefficients of the surfaces that best separate labelled voxels, (pairs, 7).

    Args:
        points_mm: Voxels, (n, 3).
        numbers: Number of the vertebra of each voxel, from 1, (n,).
        pairs: Frames of the neighbouring cores.
        mean: Prior mean of the coefficients, (pairs, 7).
        options: Options of the fit.
    """
    out = mean.copy()
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(1, len(pairs) + 3))
    for k, frame in enumerate(pairs):
        chosen = order[bounds[k] : bounds[k + 2]]
        chosen = chosen[:: max(1, len(chosen) // options.most_voxels)]
        t, terms = frame.terms(points_mm[chosen])
        near = np.abs(t) < options.range_steps
        if near.sum() >= options.least_voxels:
            lower = (numbers[chosen] == k + 2)[near].astype(float)
            prior = mean[k], 2 * np.asarray(options.prior_precision)
            design, offset = -options.slope * terms[near], options.slope * t[near]
            out[k] = logistic_fit(design, lower, prior, options.newton, offset)
    return out
