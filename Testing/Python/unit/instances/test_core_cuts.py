"""Separation of vertebral cores along the centre line of the spine."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.instances.centreline_search import find_centreline
from spinemamba.instances.core_cuts import CoreCutOptions, find_cuts, segment_cores

SPACING_MM = (2.0, 2.0, 2.0)


def cores(*bodies: tuple[float, float, float], radius_mm: float = 9.0) -> np.ndarray:
    """Return a core probability that falls with the distance from points (z, y, x) in mm."""
    grid = np.stack(np.meshgrid(*[np.arange(n) * 2.0 for n in (120, 80, 80)], indexing="ij"), -1)
    out = np.zeros(grid.shape[:3])
    for body in bodies:
        distance = np.linalg.norm(grid - np.array(body), axis=-1)
        out = np.maximum(out, 1 / (1 + np.exp(1.2 * (distance - radius_mm))))
    return out


def column(*heights_mm: float) -> list[tuple[float, float, float]]:
    return [(z, 60.0, 80.0) for z in heights_mm]


def numbers_at(core: np.ndarray, bodies: list[tuple[float, float, float]]) -> list[int]:
    pieces = segment_cores(core, find_centreline(core, SPACING_MM), SPACING_MM)
    return [int(pieces[tuple(int(c / 2) for c in body)]) for body in bodies]


def test_cores_are_numbered_from_head_to_tail():
    bodies = column(200, 172, 145, 119, 94)
    assert numbers_at(cores(*bodies), bodies) == [1, 2, 3, 4, 5]


def test_merged_cores_are_cut_where_they_are_thinnest():
    bodies = column(200, 180, 160, 141, 122, 103)
    core = cores(*bodies, radius_mm=10.5)
    assert (core[52:100, 30, 40] > 0.5).all()  # no gap anywhere
    assert numbers_at(core, bodies) == [1, 2, 3, 4, 5, 6]


def test_a_shallow_valley_in_a_core_is_not_cut():
    bodies = column(200, 172, 144, 116)
    core = cores(*bodies)
    core[70:75] *= 0.9  # a shallow valley in the third one
    assert numbers_at(core, bodies) == [1, 2, 3, 4]


def test_neighbours_of_a_missed_body_are_separate():
    bodies = column(200, 172, 116, 88)
    numbers = numbers_at(cores(*bodies), bodies)
    assert len(set(numbers)) == 4
    assert numbers == sorted(numbers)


def test_kyphotic_spine_is_cut_perpendicular_to_its_centre_line():
    turn = np.radians(np.linspace(0, 70, 8))
    z = 220 - np.concatenate([[0], np.cumsum(26 * np.cos(turn))])
    y = 20 + np.concatenate([[0], np.cumsum(26 * np.sin(turn))])
    bodies = [(a, b, 80.0) for a, b in zip(z[::1], y, strict=True)]
    assert numbers_at(cores(*bodies), bodies) == list(range(1, 10))


def test_lateral_masses_of_c1_are_one_vertebra():
    bodies = [(200.0, 60.0, 62.0), (200.0, 60.0, 98.0), *column(180, 163, 147)]
    assert numbers_at(cores(*bodies, radius_mm=6.0), bodies) == [1, 1, 2, 3, 4]


def test_cores_beside_the_spine_are_ignored():
    hips = [(70.0, 60.0, 20.0), (50.0, 60.0, 15.0), (30.0, 60.0, 15.0)]
    bodies = column(200, 168, 136, 104)
    assert numbers_at(cores(*bodies, *hips), [*bodies, *hips]) == [1, 2, 3, 4, 0, 0, 0]


def test_no_core_gives_no_centre_line():
    assert find_centreline(np.zeros((20, 20, 20)), SPACING_MM) is None


@pytest.mark.parametrize("seed", range(5))
def test_cuts_are_in_the_valleys_of_a_profile(seed: int):
    rng = np.random.default_rng(seed)
    lengths = np.round(18 * np.cumprod(rng.normal(1.04, 0.05, 12))).astype(int)
    waves = [0.25 + 0.75 * np.sin(np.pi * np.arange(n) / n) ** 2 for n in lengths]
    profile = np.concatenate(waves) + rng.normal(0, 0.03, lengths.sum())
    truth = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    cuts = find_cuts(np.clip(profile, 0, 1), CoreCutOptions())
    assert len(cuts) == len(truth)
    assert np.abs(np.array(cuts) - truth).max() <= 3
