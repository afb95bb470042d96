"""Level probabilities of the level network in the solver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.anatomy.statistics import STEP_MM, usual_volume_ml
from spinemamba.inference.level_stage import LevelEvidence
from spinemamba.instances.find import Instance, Instances
from spinemamba.levels.sequence_evidence import with_sequence_evidence
from spinemamba.levels.solve import assign_levels
from spinemamba.levels.transitions import INDEX

TRUTH = ("T10", "T11", "T12", "L1", "L2", "L3")


def instances(shift: int) -> Instances:
    """Return instances at the places of `TRUTH`, whose voxels look like levels further down."""
    items, height = [], 0.0
    for k, name in enumerate(TRUTH, start=1):
        if k > 1:
            height -= STEP_MM[TRUTH[k - 2], name][0]
        levels = row(NETWORK_LEVELS[NETWORK_LEVELS.index(name) + shift], 0.8)
        volume_ml = usual_volume_ml(name)
        items.append(Instance(k, (0.0, 0.0, height), volume_ml, tuple(levels), False, ()))
    return Instances(np.zeros((1, 1, 1), np.int16), tuple(items))


def row(name: str, certainty: float) -> np.ndarray:
    out = np.full(len(NETWORK_LEVELS), (1 - certainty) / (len(NETWORK_LEVELS) - 1))
    out[NETWORK_LEVELS.index(name)] = certainty
    return out


def evidence(names: tuple[str, ...], numbers: tuple[int, ...]) -> LevelEvidence:
    levels = np.array([row(name, 0.95) for name in names])
    witnesses = np.full((len(names), 5), 0.5)
    return LevelEvidence(numbers, levels, np.full(len(names), 0.01), witnesses)


def test_the_level_network_replaces_the_levels_of_the_voxels():
    seen = instances(shift=1)
    assert assign_levels(seen.items).best[0].names != TRUTH
    read = with_sequence_evidence(seen, evidence(TRUTH, (1, 2, 3, 4, 5, 6)))
    assert assign_levels(read.items).best[0].names == TRUTH


def test_a_vertebra_that_the_network_has_not_seen_keeps_its_probabilities():
    seen = instances(shift=0)
    read = with_sequence_evidence(seen, evidence(TRUTH[1:], (2, 3, 4, 5, 6)))
    assert read.items[0] == seen.items[0]
    assert read.items[1].no_vertebra == pytest.approx(0.01)
    assert sum(read.items[1].level_probabilities) == pytest.approx(0.99)


def test_what_the_network_calls_no_vertebra_gets_no_level():
    seen = instances(shift=0)
    names = (*TRUTH[:3], "T12", *TRUTH[3:])
    place = np.mean([seen.items[2].centroid_lps_mm, seen.items[3].centroid_lps_mm], axis=0)
    false = replace(seen.items[2], centroid_lps_mm=tuple(place), volume_ml=20.0)
    items = (*seen.items[:3], false, *seen.items[3:])
    items = tuple(replace(item, id=k) for k, item in enumerate(items, start=1))
    found = evidence(names, tuple(range(1, 8)))
    found.no_vertebra[3] = 0.95
    read = with_sequence_evidence(Instances(seen.labels, items), found)
    assert assign_levels(read.items).best[0].names == (*TRUTH[:3], None, *TRUTH[3:])


def test_one_wrong_level_of_the_network_is_corrected_by_the_others():
    names = (*TRUTH[:2], "L1", *TRUTH[3:])
    read = with_sequence_evidence(instances(shift=0), evidence(names, (1, 2, 3, 4, 5, 6)))
    assert assign_levels(read.items).best[0].names == TRUTH


def test_ribs_shift_the_probability_between_two_names():
    lower = ("T11", "T12", "L1", "L2", "L3", "L4")
    found = evidence(TRUTH, (1, 2, 3, 4, 5, 6))
    for k, (one, other) in enumerate(zip(TRUTH, lower, strict=True)):
        found.levels[k] = (row(one, 0.95) + row(other, 0.95)) / 2
    right = []
    for last in ("T11", None, "T12"):
        witnesses = np.full((6, 5), 0.5)
        if last:
            witnesses[:, :2] = 0.1
            witnesses[: TRUTH.index(last) + 1, :2] = 0.9
        seen = with_sequence_evidence(instances(shift=0), replace(found, witnesses=witnesses))
        right.append(assign_levels(seen.items).marginals[2, INDEX["T12"]])
    assert right[0] < right[1] - 0.03
    assert right[2] > right[1] + 0.03


def test_a_rib_on_one_side_says_nothing():
    found = evidence(TRUTH, (1, 2, 3, 4, 5, 6))
    blank = replace(found, witnesses=np.full((6, 5), 0.5))
    one_sided = replace(found, witnesses=np.array([[0.9, 0.1, 0.0, 0.0, 0.0]] * 6))
    with_blank, with_one = (
        assign_levels(with_sequence_evidence(instances(0), each).items)
        for each in (blank, one_sided)
    )
    np.testing.assert_allclose(with_blank.marginals, with_one.marginals, atol=1e-9)
