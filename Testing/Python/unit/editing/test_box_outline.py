"""A vertebra in a box gets what its neighbours leave, and is drawn as they are."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.editing.assignment import box_parts
from spinemamba.editing.edge_model import Hints, learned_bone
from spinemamba.editing.outline import FIRM, OTHER, OWN, outline
from spinemamba.editing.seeds import BoxSeeds
from spinemamba.imaging.masks import dice
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.voxel_predictions import Evidence

SHAPE = (60, 40, 40)
GRID = Geometry(SHAPE, (1.5, 1.5, 1.5), (0.0, 0.0, 0.0), np.eye(3))
TOPS = (2, 22, 42)
"""Three blocks, one above the other, two voxels apart."""


def blocks(rim: int = 0) -> np.ndarray:
    """Return blocks with the numbers 3, 2, 1 from the tail, larger by a rim."""
    labels = np.zeros(SHAPE, np.uint8)
    for number, low in zip((3, 2, 1), TOPS, strict=True):
        labels[low - rim : low + 16 + rim, 8 - rim : 32 + rim, 8 - rim : 32 + rim] = number
    return labels


def evidence_of(bone: np.ndarray) -> Evidence:
    levels = np.full((len(NETWORK_LEVELS), *SHAPE), 1 / len(NETWORK_LEVELS), np.float16)
    core = np.zeros(SHAPE, np.float32)
    return Evidence(bone.astype(np.float32), core, levels, GRID, levels, GRID)


def image_of(labels: np.ndarray) -> Volume:
    noise = np.random.default_rng(0).normal(0, 0.1, SHAPE)
    return Volume((np.where(labels > 0, 0.6, -0.6) + noise).astype(np.float32), GRID)


def test_a_network_that_draws_too_much_is_taught_by_the_neighbours():
    truth = blocks()
    thick = np.where(blocks(rim=1) > 0, 0.7, 0.02)
    parts = np.select([blocks(1) == 2, blocks(1) > 0], [OWN, FIRM], 0)
    there = np.where(truth == 2, 0, truth)
    mask = outline(image_of(truth), evidence_of(thick), parts, there)
    assert dice(thick > 0.5, truth > 0) < 0.9
    assert dice(mask, truth == 2) > 0.99


def test_an_arch_that_was_given_to_a_neighbour_which_has_all_of_its_own_comes_back():
    truth = blocks()
    bone = np.where(truth > 0, 0.9, 0.02)
    parts = np.select([truth == 2, truth > 0], [OWN, FIRM], 0)
    parts[22:38, 20:32] = FIRM
    mask = outline(image_of(truth), evidence_of(bone), parts, np.where(truth == 2, 0, truth))
    assert dice(mask, truth == 2) > 0.99
    # Of a neighbour nothing is known of, it may be the arch.
    parts[22:38, 20:32][parts[22:38, 20:32] == FIRM] = OTHER
    less = outline(image_of(truth), evidence_of(bone), parts, np.where(truth == 2, 0, truth))
    assert not less[22:38, 22:32].any()


def test_without_neighbours_it_is_what_the_network_says():
    truth = blocks()
    bone = np.where(truth > 0, 0.9, 0.02)
    parts = np.where(truth == 2, OWN, 0)
    nobody = np.zeros(SHAPE, np.uint8)
    mask = outline(image_of(truth), evidence_of(bone), np.where(truth == 2, OWN, OTHER), nobody)
    np.testing.assert_array_equal(mask, truth == 2)
    assert not outline(image_of(truth), evidence_of(bone * 0), parts, nobody).any()


@pytest.mark.parametrize(("held", "firm"), [(2, True), (10, False)])
def test_a_neighbour_that_holds_much_of_the_vertebra_is_not_believed(held: int, firm: bool):
    truth = blocks()
    labels = np.where(truth == 2, 0, truth)
    labels[38 - held : 38][truth[38 - held : 38] == 2] = 1
    numbers = np.zeros(SHAPE, np.int32)
    for number, low in zip((3, 2, 1), TOPS, strict=True):
        numbers[low + 6 : low + 10, 18:22, 18:22] = number
    seeds = BoxSeeds(numbers, 2, truth > 0, from_place=False)
    nobody = np.zeros(SHAPE, np.uint8)
    found = box_parts(seeds, evidence_of(truth > 0), Volume(labels, GRID), nobody > 0)
    assert found.there[44, 20, 20] == firm
    assert found.there[10, 20, 20] == 3
    assert found.parts[30, 20, 20] == OWN
    assert found.parts[50, 20, 20] == (FIRM if firm else OTHER)


def test_too_little_to_learn_from_leaves_the_network_its_answer():
    bone = np.random.default_rng(0).uniform(0, 1, SHAPE).astype(np.float32)
    hints = Hints(np.zeros(SHAPE, np.float32), bone, np.zeros(SHAPE, np.float32), (1.5, 1.5, 1.5))
    few = np.zeros(SHAPE, bool)
    few[:5, :5, :5] = True
    wanted = bone > 0.3
    same = learned_bone(hints, bone > 0.9, few, wanted)
    np.testing.assert_array_equal(same, np.where(wanted, bone, 0))
