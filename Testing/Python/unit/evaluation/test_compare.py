"""Comparison of one segmentation with a reference: matches, levels and scores."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.errors import UserError
from spinemamba.evaluation.compare import compare
from spinemamba.evaluation.pair import SIZE
from spinemamba.imaging.masks import dice
from spinemamba.imaging.volume import Geometry, Volume

T12, L1, L2, L3 = 19, 20, 21, 22


def volume(rows: list[int], z_mm: float = 1.0) -> Volume:
    """A column of slices, bottom to top, each filled with one value; 10 voxels a slice."""
    array = np.repeat(np.array(rows, np.int16), 10).reshape(len(rows), 2, 5)
    return Volume(array, Geometry(array.shape, (z_mm, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3)))


def test_dice_of_two_masks_equals_the_value_calculated_by_hand():
    a, b = np.array([1, 1, 1, 0], bool), np.array([0, 1, 1, 0], bool)
    assert dice(a, b) == pytest.approx(4 / 5)
    assert math.isnan(dice(np.zeros(3, bool), np.zeros(3, bool)))
    assert dice(np.ones(3, bool), np.zeros(3, bool)) == 0


def test_every_value_up_to_the_largest_is_a_level():
    assert set(BY_VALUE) == set(range(1, SIZE))


def test_a_perfect_segmentation_scores_perfectly():
    labels = volume([L2, L2, 0, L1, L1])
    score = compare(labels, labels)
    assert (score.bone_dice, score.mean_dice, score.mean_named_dice) == (1, 1, 1)
    assert (score.identification_rate, score.localisation_mm) == (1, 0)
    assert (score.hd95_mm, score.assd_mm, score.bone_surface.hd95_mm) == (0, 0, 0)
    assert (score.f1, score.pq, score.all_right) == (1, 1, True)


def test_levels_shifted_by_one_keep_their_dice_but_are_misidentified():
    score = compare(volume([L3, L3, 0, L2, L2], 10), volume([L2, L2, 0, L1, L1], 10))
    assert score.bone_dice == 1
    assert score.mean_dice == 1
    assert (score.f1, score.pq) == (1, 1)
    assert (score.named_right, score.all_right) == (0, False)
    assert [(v.name, v.found_as) for v in score.vertebrae] == [("L1", "L2"), ("L2", "L3")]
    # Both have an L2, 30 mm from its true position, and no L1.
    assert score.mean_named_dice == 0
    assert score.localisation_mm == 30
    assert score.identification_rate == 0
    # Of its two slices, one is 20 mm from the other L2 and one 30 mm.
    assert score.vertebrae[1].named_surface.assd_mm == pytest.approx(25)
    assert score.vertebrae[1].named_surface.hd95_mm == pytest.approx(30)
    assert score.vertebrae[1].surface.hd95_mm == 0


def test_a_missed_vertebra_counts_as_zero_and_has_no_distance():
    score = compare(volume([L2, L2, 0, 0, 0]), volume([L2, L2, 0, L1, L1]))
    assert score.bone_dice == pytest.approx(2 * 2 / (2 + 4))
    assert score.mean_dice == score.mean_named_dice == pytest.approx(0.5)
    missed = score.vertebrae[0]
    assert (missed.found_as, missed.iou, missed.dice) == (None, 0, 0)
    assert math.isnan(missed.surface.hd95_mm)
    assert score.hd95_mm == 0  # of the vertebra that was found
    assert score.identification_rate == 0.5
    assert (score.missed, score.all_right) == (1, False)
    # One of two vertebrae was found: TP 1, FN 1, FP 0.
    assert score.f1 == pytest.approx(2 / 3)
    assert score.pq == pytest.approx(1 / 1.5)


def test_a_vertebra_beyond_the_reference_is_listed_but_not_scored():
    score = compare(volume([L2, L2, 0, L1, L1, 0, T12]), volume([L2, L2, 0, L1, L1, 0, 0]))
    assert score.bone_dice == 1
    assert score.beyond == ("T12",)
    assert (score.extra, score.f1, score.all_right) == ((), 1, True)


def test_a_vertebra_less_than_half_in_the_reference_is_beyond_it():
    reference = volume([L1] * 6 + [0] * 3)
    # Two of T12's five slices are labelled: an inexact border to L1, not a false positive.
    score = compare(volume([L1] * 4 + [T12] * 5), reference)
    assert (score.beyond, score.extra) == (("T12",), ())
    assert score.bone_dice == pytest.approx(2 * 4 / (4 + 6))
    # Two of four slices: most of it belongs to L1.
    score = compare(volume([L1] * 4 + [T12] * 4 + [0]), reference)
    assert (score.beyond, score.extra) == ((), ("T12",))


def test_a_matched_vertebra_is_never_beyond_the_reference():
    # Its centre lies below that of its labelled part; only two of five slices are labelled.
    score = compare(volume([L1] * 5), volume([0, 0, 0, L1, L1]))
    assert (score.beyond, score.vertebrae[0].found_as) == ((), "L1")
    assert score.vertebrae[0].dice == pytest.approx(2 * 2 / (5 + 2))


def test_a_false_vertebra_between_labelled_ones_counts():
    score = compare(volume([L2, L2, 9, L1, L1]), volume([L2, L2, 0, L1, L1]))
    assert score.bone_dice == pytest.approx(2 * 4 / (5 + 4))
    assert score.beyond == ()
    assert score.extra == ("T2",)
    assert (score.named_right, score.all_right) == (2, False)
    assert score.mean_dice == 1
    # TP 2, FP 1, FN 0.
    assert score.f1 == pytest.approx(4 / 5)
    assert score.pq == pytest.approx(2 / 2.5)


def test_two_merged_vertebrae_are_one_match_and_one_miss():
    score = compare(volume([L1] * 5), volume([L2, L2, L1, L1, L1]))
    assert [(v.name, v.found_as) for v in score.vertebrae] == [("L1", "L1"), ("L2", None)]
    # 3 of 5 slices: IoU 0.6, above one half; TP 1, FN 1.
    assert score.vertebrae[0].iou == pytest.approx(0.6)
    assert score.f1 == pytest.approx(2 / 3)
    assert score.pq == pytest.approx(0.6 / 1.5)


def test_a_split_vertebra_is_one_match_and_one_false_positive():
    score = compare(volume([L2, L2, L1, L1, L1]), volume([L1] * 5))
    assert score.vertebrae[0].found_as == "L1"
    assert score.extra == ("L2",)
    assert score.f1 == pytest.approx(2 / 3)


def test_a_partly_labelled_vertebra_is_scored_on_its_labelled_part():
    score = compare(volume([0, L1, L1, L1, L1]), volume([0, 0, 0, L1, L1]))
    assert score.vertebrae[0].dice == pytest.approx(2 * 2 / (4 + 2))
    # IoU is exactly one half: found, but not a true positive.
    assert score.vertebrae[0].found_as == "L1"
    assert (score.f1, score.pq) == (0, 0)


def test_a_vertebra_at_the_edge_of_the_image_is_marked_truncated():
    array = np.zeros((9, 9, 9), np.int16)
    array[6:9, 3:6, 3:6], array[2:5, 3:6, 3:6] = L1, L2
    labels = Volume(array, Geometry(array.shape, (1.0, 2.0, 4.0), (0.0, 0.0, 0.0), np.eye(3)))
    score = compare(labels, labels)
    assert [(v.name, v.cut) for v in score.vertebrae] == [("L1", True), ("L2", False)]
    assert score.vertebrae[0].volume_ml == pytest.approx(27 * 8 / 1000)


def test_an_empty_segmentation_misses_all_vertebrae():
    score = compare(volume([0, 0, 0]), volume([L1, 0, 0]))
    assert (score.bone_dice, score.mean_dice, score.mean_named_dice) == (0, 0, 0)
    assert (score.identification_rate, score.f1, score.pq) == (0, 0, 0)
    assert score.all_right is False
    assert math.isnan(score.bone_surface.hd95_mm)
    assert math.isnan(score.localisation_mm)


def test_predictions_with_an_empty_reference_are_false_positives():
    score = compare(volume([L1, 0, 0]), volume([0, 0, 0]))
    assert score.extra == ("L1",)
    assert (score.bone_dice, score.f1, score.pq) == (0, 0, 0)
    assert score.all_right is False
    assert math.isnan(score.mean_dice)
    assert math.isnan(score.identification_rate)


def test_two_empty_images_have_no_score():
    score = compare(volume([0, 0, 0]), volume([0, 0, 0]))
    assert all(math.isnan(v) for v in (score.bone_dice, score.mean_dice, score.f1, score.pq))
    assert score.all_right is None


@pytest.mark.parametrize(("z_mm", "hit"), [(10.0, True), (10.5, False)])
def test_a_vertebra_is_identified_up_to_20_mm_from_its_true_centroid(z_mm: float, hit: bool):
    score = compare(volume([0, 0, L1, 0], z_mm), volume([L1, 0, 0, 0], z_mm))
    assert score.vertebrae[0].centre_mm == pytest.approx(2 * z_mm)
    assert score.vertebrae[0].identified is hit


def test_a_vertebra_nearer_to_another_true_one_is_not_identified():
    # The predicted L1 lies 3 mm from the true L1 and 1 mm from the true L2, also found.
    score = compare(volume([0, L2, L1, 0, 0]), volume([0, L2, 0, 0, L1]))
    assert [v.identified for v in score.vertebrae] == [False, True]
    # VerSe scores only true vertebrae whose level was predicted.
    score = compare(volume([0, 0, L1, 0, 0]), volume([0, L2, 0, 0, L1]))
    assert [v.identified for v in score.vertebrae] == [True, False]


def test_different_grids_are_refused():
    with pytest.raises(UserError, match=r"grids differ.* 5 x 2 x 2 and 5 x 2 x 3 voxels"):
        compare(volume([1, 1]), volume([1, 1, 1]))
    with pytest.raises(UserError, match="grids differ"):
        compare(volume([1, 1]), volume([1, 1], 1.5))


def test_images_in_another_orientation_have_the_same_grid():
    labels = volume([L2, L2, 0, L1, L1])
    place = Geometry((5, 2, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 4.0), np.diag([1.0, 1.0, -1.0]))
    upside_down = Volume(labels.array[::-1].copy(), place)
    assert compare(upside_down, labels).mean_dice == 1


@pytest.mark.parametrize("value", [-1, 29, 300])
def test_a_value_that_is_not_a_level_is_refused(value: int):
    with pytest.raises(UserError, match=f"reference contains the value {value}"):
        compare(volume([L1, L1]), volume([L1, value]))


def test_other_scores_do_not_depend_on_distances():
    labels = volume([L2, L2, 0, L1, L1])
    score = compare(labels, labels, distances=False)
    assert score.pq == 1
    assert math.isnan(score.hd95_mm)
    assert math.isnan(score.bone_surface.assd_mm)
