"""Levels of chains of vertebrae, with anomalies, gaps and false instances."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.anatomy.statistics import ANY_STEP_MM, STEP_MM, usual_volume_ml
from spinemamba.instances.find import Instance, Instances
from spinemamba.levels.emissions import volume_transitions
from spinemamba.levels.solve import LevelOptions, assign_levels
from spinemamba.levels.transitions import INDEX, NAMES, TransitionOptions, routes, transition_tables
from spinemamba.protocol.result import Witnesses


def spine(
    truth: list[str], certainty: float = 0.6, scale: float = 1.0, spread: int = 1
) -> Instances:
    """Return instances on a straight line at the usual distances, with blurred levels."""
    items, height = [], 0.0
    for k, name in enumerate(truth, start=1):
        visible = {"T13": "T12", "L6": "L5"}.get(name, name)
        at = NETWORK_LEVELS.index(visible)
        probabilities = np.full(len(NETWORK_LEVELS), 0.001)
        for j in range(-spread, spread + 1):
            if 0 <= at + j < len(probabilities):
                probabilities[at + j] = (1 - certainty) / (2 * spread)
        probabilities[at] = certainty
        if k > 1:
            height -= scale * STEP_MM.get((truth[k - 2], name), (33.0, 2.0))[0]
        items.append(
            Instance(k, (0.0, 0.0, height), 30.0, tuple(probabilities), name == "Sacrum", ())
        )
    return Instances(np.zeros((1, 1, 1), np.int16), tuple(items))


WHOLE = [*(f"C{k}" for k in range(1, 8)), *(f"T{k}" for k in range(1, 13))]
WHOLE += [*(f"L{k}" for k in range(1, 6)), "Sacrum"]
T11 = [n for n in WHOLE if n != "T12"]
T13 = [*WHOLE[:19], "T13", *WHOLE[19:]]
L4 = [n for n in WHOLE if n != "L5"]
L6 = [*WHOLE[:-1], "L6", "Sacrum"]


@pytest.mark.parametrize(
    "truth", [WHOLE, T11, T13, L4, L6], ids=["usual", "T11", "T13", "L4", "L6"]
)
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.15])
def test_whole_spines_with_usual_and_unusual_numbers_of_levels_are_solved(truth, scale):
    solution = assign_levels(spine(truth, scale=scale).items)
    assert solution.best[0].names == tuple(truth)


@pytest.mark.parametrize("size", [0.62, 0.84, 1.0, 1.16])
def test_the_body_size_is_told_from_the_distances_of_the_vertebrae(size: float):
    assert assign_levels(spine(WHOLE, scale=size).items).body_size == pytest.approx(size, rel=0.05)
    few = assign_levels(spine(WHOLE[18:22], scale=size).items).body_size
    assert few == pytest.approx(size, rel=0.15)


def test_one_vertebra_that_looks_like_its_neighbour_is_corrected():
    instances = spine(WHOLE[8:20])
    items = list(instances.items)
    items[4] = Instance(5, items[4].centroid_lps_mm, 30.0, items[5].level_probabilities, False, ())
    solution = assign_levels(tuple(items))
    assert solution.best[0].names == tuple(WHOLE[8:20])


def test_a_missed_vertebra_leaves_a_gap_in_the_levels():
    truth = WHOLE[8:20]
    instances = spine(truth)
    detected = tuple(i for i in instances.items if i.id != 5)
    solution = assign_levels(detected)
    assert solution.best[0].names == tuple(n for k, n in enumerate(truth, 1) if k != 5)


def test_uncertain_levels_without_an_anchor_are_in_doubt():
    weak = assign_levels(spine(WHOLE[10:14], certainty=0.05, spread=5).items)
    assert weak.doubt == "check_level"
    strong = assign_levels(spine(WHOLE[14:], certainty=0.8).items)
    assert strong.doubt == "none"
    assert not strong.ambiguous
    assert np.median(strong.posteriors) > 0.95


def test_uncertain_labeling_is_in_doubt_even_if_no_shift_is_likely():
    truth = WHOLE[8:14]
    items = spine(truth, certainty=0.5).items
    contradicting = tuple(
        Instance(
            i.id,
            i.centroid_lps_mm,
            30.0,
            tuple(np.roll(i.level_probabilities, 3 * (k % 2))),
            False,
            (),
        )
        for k, i in enumerate(items)
    )
    solution = assign_levels(contradicting)
    assert float(np.median(solution.posteriors)) < 0.75
    assert solution.doubt == "check_level"


def test_posteriors_sum_to_one_and_labelings_are_sorted():
    solution = assign_levels(spine(WHOLE[8:14], certainty=0.3).items, k=5)
    likely = [labeling.posterior for labeling in solution.best]
    assert likely == sorted(likely, reverse=True)
    assert sum(likely) <= 1 + 1e-9
    assert (solution.marginals.sum(axis=1) <= 1 + 1e-9).all()
    assert (solution.marginals.sum(axis=1) > 0.95).all()


@pytest.mark.parametrize(
    ("volume_ml", "cut", "certainty", "in_doubt"),
    [
        (6.0, ("inferior",), 0.45, True),
        (6.0, (), 0.45, False),
        (40.0, ("inferior",), 0.45, False),
        (6.0, ("inferior",), 0.8, False),
    ],
)
def test_little_bone_at_the_end_of_the_image_does_not_anchor_the_levels(
    volume_ml: float, cut: tuple[str, ...], certainty: float, in_doubt: bool
):
    """The levels of the chain are one above those that the sacrum gives them."""
    items = list(spine([*WHOLE[19:23], "L5"], certainty=0.5).items)
    probabilities = np.full(len(NETWORK_LEVELS), 0.001)
    probabilities[-2:] = (0.98 - certainty, certainty)
    items[4] = replace(
        items[4],
        level_probabilities=tuple(probabilities),
        volume_ml=volume_ml,
        is_sacrum=True,
        cut_sides=cut,
    )
    solution = assign_levels(tuple(items))
    last = solution.best[0].names[3]
    assert (last == "L4") == in_doubt
    assert solution.ambiguous or not in_doubt


def test_common_shift_of_all_levels_is_corrected_by_a_sacrum_or_a_pin():
    items = spine(WHOLE[17:], certainty=0.8).items
    shifted = tuple(
        Instance(
            i.id,
            i.centroid_lps_mm,
            30.0,
            tuple(np.roll(i.level_probabilities, -1)),
            i.is_sacrum,
            (),
        )
        for i in items
    )
    right = tuple(WHOLE[17:])
    assert assign_levels(shifted).best[0].names == right
    assert assign_levels(shifted[:-1]).best[0].names == tuple(WHOLE[16:-2])
    assert assign_levels(shifted[:-1], {3: right[2]}).best[0].names == right[:-1]


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("part", [slice(0, 6), slice(6, 12)], ids=["above", "below"])
def test_a_shift_of_the_levels_of_one_part_is_corrected_by_the_others(by: int, part: slice):
    truth = WHOLE[8:20]  # T2 to L1
    items = spine(truth, certainty=0.9).items
    ribs = [Witnesses(*(2 * [0.99 if name.startswith("T") else 0.01]), 0, 0, 0) for name in truth]
    shifted = tuple(
        replace(
            item,
            witnesses=seen,
            level_probabilities=tuple(np.roll(item.level_probabilities, by))
            if k in range(12)[part]
            else item.level_probabilities,
        )
        for k, (item, seen) in enumerate(zip(items, ribs, strict=True))
    )
    assert assign_levels(shifted).best[0].names == tuple(truth)


def test_an_anchor_increases_the_posterior():
    items = spine(WHOLE[17:], certainty=0.6).items
    with_sacrum, without = assign_levels(items), assign_levels(items[:-1])
    assert with_sacrum.best[0].posterior > without.best[0].posterior


def test_t13_is_improbable_at_the_top_too():
    solution = assign_levels(spine(["T12", "L1", "L2"]).items)
    assert solution.best[0].names == ("T12", "L1", "L2")
    assert solution.marginals[0, INDEX["T13"]] < 0.1


def test_probabilities_of_direct_routes_sum_to_one():
    for most_missed in (0, 2):
        total = np.zeros(len(NAMES))
        for (upper, _), group in routes(most_missed).items():
            total[INDEX[upper]] += sum(route.share for route in group if route.missed == 0)
        assert total[:-1] == pytest.approx(1.0)


def test_transition_table_equals_the_sum_over_routes():
    gaps_mm, sizes = np.array([20.0, 50.0, np.nan]), np.array([0.9, 1.1])
    missed, spread, outlier, too_near = 0.02, 1.5, 0.1, 0.01
    table = transition_tables(
        gaps_mm, sizes, TransitionOptions(missed, 2, spread, outlier, too_near)
    )
    for s, size in enumerate(sizes):
        for g, gap_mm in enumerate(gaps_mm):
            expected = np.zeros((len(NAMES), len(NAMES)))
            for (upper, lower), entries in routes(2).items():
                for route in entries:
                    ratio = 1.0
                    if np.isfinite(gap_mm) and np.isfinite(route.mean_mm):
                        near = norm.pdf(
                            gap_mm, size * route.mean_mm, size * spread * route.spread_mm
                        )
                        rare = too_near if gap_mm < size * route.mean_mm else outlier
                        ratio = rare + (1 - rare) * near / norm.pdf(gap_mm, *ANY_STEP_MM)
                    weight = route.share * missed**route.missed * (1 - missed)
                    expected[INDEX[upper], INDEX[lower]] += weight * ratio
            np.testing.assert_allclose(table[s, g], expected, rtol=1e-12)


def test_two_vertebrae_missed_in_a_row_leave_a_gap_of_two():
    truth = WHOLE[8:20]
    detected = tuple(i for i in spine(truth).items if i.id not in (5, 6))
    expected = tuple(name for k, name in enumerate(truth, 1) if k not in (5, 6))
    assert assign_levels(detected).best[0].names == expected
    close = assign_levels(
        detected, options=LevelOptions(transitions=TransitionOptions(most_missed=0))
    )
    assert close.best[0].names != expected


def test_a_single_vertebra_gets_its_most_likely_level():
    assert assign_levels(spine(["L3"]).items).best[0].names == ("L3",)


@pytest.mark.parametrize("certainty", [0.4, 0.95])
def test_a_piece_of_the_skull_above_c1_is_not_a_vertebra(certainty: float):
    items = spine(WHOLE, certainty).items
    piece = replace(
        items[0],
        id=0,
        centroid_lps_mm=(4.0, -5.0, 20.0),
        volume_ml=9.0,
        level_probabilities=items[0].level_probabilities,
    )
    for visible in (items, items[:10]):
        solution = assign_levels((piece, *visible))
        assert solution.best[0].names == (None, *WHOLE[: len(visible)])
        assert solution.posteriors[0] > 0.5


def test_a_piece_of_the_pelvis_between_l5_and_sacrum_is_not_a_vertebra():
    items = spine(WHOLE).items
    low = items[-2]
    piece = replace(low, id=99, centroid_lps_mm=(40.0, 0.0, low.centroid_lps_mm[2] - 30.0))
    piece = replace(piece, volume_ml=6.0)
    solution = assign_levels((*items[:-1], piece, items[-1]))
    assert solution.best[0].names == (*WHOLE[:-1], None, "Sacrum")


def test_a_single_vertebra_that_looks_like_c1_is_a_vertebra():
    assert assign_levels(spine(["C1"], certainty=0.4).items).best[0].names == ("C1",)


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13, 20])
def test_cropped_chains_with_c1_or_sacrum_keep_their_levels(count):
    items = spine(WHOLE, certainty=0.45).items
    assert assign_levels(items[:count]).best[0].names == tuple(WHOLE[:count])
    assert assign_levels(items[-count:]).best[0].names == tuple(WHOLE[-count:])


def test_volume_ratios_fit_levels_at_any_body_size_and_ignore_truncated_ones():
    visible = ["T10", "T11", "T12", "L1", "L2"]
    for size in (0.5, 1.0, 1.3):
        uncertain = spine(visible, certainty=0.04, spread=12).items
        pairs = zip(uncertain, visible, strict=True)
        sized = tuple(replace(i, volume_ml=size * usual_volume_ml(name)) for i, name in pairs)
        likelihood = volume_transitions(sized)
        for k, (upper, lower) in enumerate(itertools.pairwise(visible)):
            assert likelihood[k, INDEX[upper], INDEX[lower]] == pytest.approx(1.0)
    cut = (replace(sized[0], cut_sides=("superior",)), *sized[1:])
    assert (volume_transitions(cut)[0] == 1.0).all()
    assert volume_transitions(cut)[1].min() == pytest.approx(0.2, abs=0.05)
