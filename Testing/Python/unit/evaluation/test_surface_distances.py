"""Surface distances between masks, compared with SimpleITK and values by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from spinemamba.common.errors import Code, UserError
from spinemamba.evaluation.pair import match_by_overlap, pair_labels
from spinemamba.evaluation.scores import surface_distance
from spinemamba.imaging.volume import Geometry, Volume


def line(length: int) -> np.ndarray:
    """A line of voxels, all of which are surface."""
    mask = np.zeros((1, 1, 20), bool)
    mask[..., :length] = True
    return mask


def test_distances_along_a_line_by_hand():
    distance = surface_distance(line(20), line(18), (1.0, 1.0, 2.0))
    # Found to true: 18 zeros, 2 mm, 4 mm; the 95th of 20 values lies at place 18.05.
    assert distance.hd95_mm == pytest.approx(2 + 0.05 * 2)
    # True to found: 18 zeros.
    assert distance.assd_mm == pytest.approx((2 + 4) / (20 + 18))


def test_distances_are_the_same_both_ways():
    there = surface_distance(line(20), line(18), (1.0, 1.0, 2.0))
    assert surface_distance(line(18), line(20), (1.0, 1.0, 2.0)) == there


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plate_that_is_moved_is_as_far_as_it_was_moved(axis: int):
    spacing_mm = (2.5, 0.7, 1.1)
    plate = np.zeros((9, 9, 9), bool)
    plate[(slice(None),) * axis + (slice(2, 3),)] = True
    distance = surface_distance(plate, np.roll(plate, 3, axis), spacing_mm)
    assert distance.hd95_mm == pytest.approx(3 * spacing_mm[axis])
    assert distance.assd_mm == pytest.approx(3 * spacing_mm[axis])


def test_inner_voxels_are_not_part_of_the_surface():
    block = np.ones((5, 5, 5), bool)
    hollow = block.copy()
    hollow[2, 2, 2] = False
    # The 98 outer voxels of both are the same; the hollow has 6 more around its hole, 1 from
    # the block's surface.
    distance = surface_distance(hollow, block, (1.0, 1.0, 1.0))
    assert distance.assd_mm == pytest.approx(6 * 1 / (98 + 98 + 6))


def test_distances_to_an_empty_mask_are_nan():
    empty = np.zeros((1, 1, 20), bool)
    for pair in ((line(3), empty), (empty, line(3)), (empty, empty)):
        assert math.isnan(surface_distance(*pair, (1.0, 1.0, 1.0)).hd95_mm)


def itk_ways_mm(found: np.ndarray, truth: np.ndarray, spacing_mm: tuple) -> list[np.ndarray]:
    """Return distances from each surface to the other, by SimpleITK's filters."""
    images = [sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8)) for mask in (found, truth)]
    for image in images:
        image.SetSpacing(spacing_mm[::-1])
    contours = [sitk.BinaryContour(image, fullyConnected=False) for image in images]
    maps = [
        sitk.Abs(sitk.SignedMaurerDistanceMap(c, squaredDistance=False, useImageSpacing=True))
        for c in contours
    ]
    arrays = [sitk.GetArrayFromImage(image) for image in (*contours, *maps)]
    return [arrays[3][arrays[0] > 0], arrays[2][arrays[1] > 0]]


@pytest.mark.parametrize("seed", range(4))
def test_simpleitk_measures_the_same_distances(seed: int):
    rng = np.random.default_rng(seed)
    spacing_mm = tuple(rng.uniform(0.3, 3.0, 3))
    masks = [ndimage.gaussian_filter(rng.normal(size=(24, 30, 36)), 3) > 0.01 for _ in range(2)]
    distance = surface_distance(*masks, spacing_mm)
    ways_mm = itk_ways_mm(*masks, spacing_mm)
    assert distance.hd95_mm > 1
    assert distance.hd95_mm == pytest.approx(max(np.percentile(w, 95) for w in ways_mm), abs=1e-4)
    assert distance.assd_mm == pytest.approx(np.concatenate(ways_mm).mean(), abs=1e-4)


def test_without_monai_there_is_a_message_with_a_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "monai.metrics", None)
    with pytest.raises(UserError, match=r"monai.*--no-distances") as caught:
        surface_distance(line(3), line(2), (1.0, 1.0, 1.0))
    assert caught.value.code is Code.DEPENDENCY_MISSING


def row(values: list[int]) -> Volume:
    array = np.array(values, np.int16).reshape(1, 1, -1)
    return Volume(array, Geometry(array.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3)))


def test_the_best_match_is_kept_over_two_poor_pairs_with_more_overlap():
    # 20 and 20 share 54 of 100 voxels. Swapped partners would share 23 of 77, twice: 0.597.
    pair = pair_labels(row([20] * 77 + [21] * 23), row([21] * 23 + [20] * 77))
    assert match_by_overlap(pair) == {20: (20, pytest.approx(0.54))}


def test_neighbours_that_touch_are_not_matched():
    # One voxel of 19 in common: IoU 1 / 19.
    pair = pair_labels(row([20] * 10 + [0] * 9), row([0] * 9 + [21] * 10))
    assert match_by_overlap(pair) == {}
