"""Outline of a vertebra in a box, limited by its neighbours and learned from them."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.editing.assignment import assign_bone
from spinemamba.editing.edge_model import EdgeInputs, learned_bone
from spinemamba.editing.outline import EXISTING, TARGET, UNKNOWN, outline
from spinemamba.editing.seeds import BoxSeeds
from spinemamba.imaging.masks import dice
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.voxel_predictions import VoxelPredictions

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


def predictions_of(bone: np.ndarray) -> VoxelPredictions:
    levels = np.full((len(NETWORK_LEVELS), *SHAPE), 1 / len(NETWORK_LEVELS), np.float16)
    core = np.zeros(SHAPE, np.float32)
    return VoxelPredictions(bone.astype(np.float32), core, levels, GRID, levels, GRID)


def image_of(labels: np.ndarray) -> Volume:
    noise = np.random.default_rng(0).normal(0, 0.1, SHAPE)
    return Volume((np.where(labels > 0, 0.6, -0.6) + noise).astype(np.float32), GRID)


def test_neighbours_correct_a_network_that_labels_too_much():
    truth = blocks()
    thick = np.where(blocks(rim=1) > 0, 0.7, 0.02)
    parts = np.select([blocks(1) == 2, blocks(1) > 0], [TARGET, EXISTING], 0)
    neighbours = np.where(truth == 2, 0, truth)
    mask = outline(image_of(truth), predictions_of(thick), parts, neighbours)
    assert dice(thick > 0.5, truth > 0) < 0.9
    assert dice(mask, truth == 2) > 0.99


def test_an_arch_assigned_to_a_complete_neighbour_comes_back():
    truth = blocks()
    bone = np.where(truth > 0, 0.9, 0.02)
    parts = np.select([truth == 2, truth > 0], [TARGET, EXISTING], 0)
    parts[22:38, 20:32] = EXISTING
    mask = outline(image_of(truth), predictions_of(bone), parts, np.where(truth == 2, 0, truth))
    assert dice(mask, truth == 2) > 0.99
    # If the neighbour is unsegmented, the arch may belong to it.
    parts[22:38, 20:32][parts[22:38, 20:32] == EXISTING] = UNKNOWN
    less = outline(image_of(truth), predictions_of(bone), parts, np.where(truth == 2, 0, truth))
    assert not less[22:38, 22:32].any()


def test_without_neighbours_the_network_decides():
    truth = blocks()
    bone = np.where(truth > 0, 0.9, 0.02)
    parts = np.where(truth == 2, TARGET, 0)
    no_labels = np.zeros(SHAPE, np.uint8)
    mask = outline(
        image_of(truth), predictions_of(bone), np.where(truth == 2, TARGET, UNKNOWN), no_labels
    )
    np.testing.assert_array_equal(mask, truth == 2)
    assert not outline(image_of(truth), predictions_of(bone * 0), parts, no_labels).any()


@pytest.mark.parametrize(("overlap", "existing"), [(2, True), (10, False)])
def test_a_neighbour_that_contains_much_of_the_target_is_ignored(overlap: int, existing: bool):
    truth = blocks()
    labels = np.where(truth == 2, 0, truth)
    labels[38 - overlap : 38][truth[38 - overlap : 38] == 2] = 1
    numbers = np.zeros(SHAPE, np.int32)
    for number, low in zip((3, 2, 1), TOPS, strict=True):
        numbers[low + 6 : low + 10, 18:22, 18:22] = number
    seeds = BoxSeeds(numbers, 2, truth > 0, from_place=False)
    no_labels = np.zeros(SHAPE, np.uint8)
    assignment = assign_bone(seeds, predictions_of(truth > 0), Volume(labels, GRID), no_labels > 0)
    assert assignment.neighbours[44, 20, 20] == existing
    assert assignment.neighbours[10, 20, 20] == 3
    assert assignment.parts[30, 20, 20] == TARGET
    assert assignment.parts[50, 20, 20] == (EXISTING if existing else UNKNOWN)


def test_with_few_training_voxels_the_network_decides():
    bone = np.random.default_rng(0).uniform(0, 1, SHAPE).astype(np.float32)
    inputs = EdgeInputs(
        np.zeros(SHAPE, np.float32), bone, np.zeros(SHAPE, np.float32), (1.5, 1.5, 1.5)
    )
    few = np.zeros(SHAPE, bool)
    few[:5, :5, :5] = True
    query = bone > 0.3
    same = learned_bone(inputs, bone > 0.9, few, query)
    np.testing.assert_array_equal(same, np.where(query, bone, 0))
