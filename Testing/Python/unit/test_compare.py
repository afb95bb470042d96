from __future__ import annotations

import math

import numpy as np
import pytest

from spinemamba.errors import UserError
from spinemamba.evaluation.compare import compare, dice
from spinemamba.volume import Geometry, Volume


def volume(rows: list[int]) -> Volume:
    """A column of slices, bottom to top, each filled with one value; 10 voxels a slice."""
    array = np.repeat(np.array(rows, np.int16), 10).reshape(len(rows), 2, 5)
    return Volume(array, Geometry(array.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3)))


def test_dice_of_masks_by_hand():
    a, b = np.array([1, 1, 1, 0], bool), np.array([0, 1, 1, 0], bool)
    assert dice(a, b) == pytest.approx(4 / 5)
    assert math.isnan(dice(np.zeros(3, bool), np.zeros(3, bool)))
    assert dice(np.ones(3, bool), np.zeros(3, bool)) == 0


def test_a_shifted_chain_keeps_its_dice_but_is_named_wrong():
    score = compare(volume([22, 22, 0, 21, 21]), volume([21, 21, 0, 20, 20]))
    assert score.bone_dice == 1
    assert score.mean_dice == 1
    assert score.named_right == 0
    assert [(v.name, v.found_as) for v in score.vertebrae] == [("L1", "L2"), ("L2", "L3")]


def test_a_missed_vertebra_counts_as_zero():
    score = compare(volume([21, 21, 0, 0, 0]), volume([21, 21, 0, 20, 20]))
    assert score.bone_dice == pytest.approx(2 * 2 / (2 + 4))
    assert score.mean_dice == pytest.approx(0.5)
    assert score.vertebrae[0].found_as is None


def test_a_vertebra_beyond_the_labelled_part_is_listed_and_left_out():
    score = compare(volume([21, 21, 0, 20, 20, 0, 19]), volume([21, 21, 0, 20, 20, 0, 0]))
    assert score.bone_dice == 1
    assert score.beyond == ("T12",)


def test_a_false_vertebra_between_labelled_ones_counts():
    score = compare(volume([21, 21, 9, 20, 20]), volume([21, 21, 0, 20, 20]))
    assert score.bone_dice == pytest.approx(2 * 4 / (5 + 4))
    assert score.beyond == ()


def test_different_grids_are_refused():
    with pytest.raises(UserError, match="grids differ"):
        compare(volume([1, 1]), volume([1, 1, 1]))
