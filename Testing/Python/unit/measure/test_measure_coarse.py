"""Accuracy of measurements at 3 mm isotropic voxels, and its lower bound.

A few spines each; ``Testing/Benchmarks/run.py measurement_error`` draws as many as one likes.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from analytic_spine import draw, random_stack
from measurement_errors import BARS, Error, errors_of
from voxel_limits import endplate

MOST_MISSED = 0.05
"""Share of measurements that may exceed the bound: heights are measured at the endplate itself,
which may be concave, and the bound assumes a plane."""


def missed(errors: list[Error]) -> list[Error]:
    """Return errors above the allowed error although every plane between the voxels is closer."""
    over = [error for error in errors if abs(error.off) > error.bar]
    return [error for error in over if abs(error.off) > 2 * error.limit()]


def check(seeds: range, kind: str) -> None:
    errors = [error for seed in seeds for error in errors_of(seed, kind)]
    assert {error.what for error in errors} == set(BARS)
    assert len(missed(errors)) <= MOST_MISSED * len(errors)
    for what, bar in BARS.items():
        off = [abs(error.off) for error in errors if error.what == what]
        assert np.median(off) <= bar


def test_measurements_are_as_accurate_as_coarse_voxels_allow():
    check(range(2), "coarse")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "draws"), [("coarse", 6), ("mixed", 3)])
def test_measurements_of_more_spines_are_as_accurate_as_voxels_allow(kind, draws):
    check(range(draws), kind)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_measurements_at_clinical_spacings_are_within_their_bounds(seed):
    for error in errors_of(seed, "clinical"):
        assert abs(error.off) <= error.bar, error


def test_different_endplates_can_have_the_same_coarse_voxels():
    """Any method has an error of more than a degree on one of the two."""
    widest = 0.0
    vertebrae, direction = random_stack(0)
    grid = draw(vertebrae, (3.0, 3.0, 3.0), direction).geometry
    for vertebra, sign in product(vertebrae, (1, -1)):
        planes = endplate(vertebra, sign, grid)
        for slope in planes.ends(np.array([0.0, 0.0, 1.0])):
            above = planes.height_mm - planes.design @ slope
            assert (above[planes.inside] <= 1e-6).all()
            assert (above[~planes.inside] >= -1e-6).all()
        widest = max(widest, 2 * planes.half_deg(1))
    assert widest > 2 * BARS["Cobb deg"]
