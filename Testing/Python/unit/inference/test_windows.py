from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from spinemamba.inference.sliding_window import Blend, blend_weights, window_boxes, window_starts


def test_windows_reach_both_ends_of_the_axis():
    assert window_starts(length=110, window=64, overlap=0.5) == [0, 23, 46]


def test_an_axis_that_fits_needs_one_window():
    assert window_starts(length=64, window=64, overlap=0.5) == [0]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("length", [65, 100, 127, 128, 129, 500])
def test_neighbours_share_at_least_the_overlap(length: int, overlap: float):
    starts = window_starts(length, 64, overlap)
    assert starts[0] == 0
    assert starts[-1] == length - 64
    for a, b in itertools.pairwise(starts):
        assert 0 < b - a <= round(64 * (1 - overlap)) + 1


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_an_impossible_overlap_is_refused_with_its_value(overlap: float):
    with pytest.raises(ValueError, match=str(overlap)):
        window_starts(100, 64, overlap)


def test_every_wanted_voxel_lies_in_a_window():
    wanted = np.zeros((120, 60, 50), bool)
    for z in range(10, 110):
        wanted[z, 10 + z // 4 : 22 + z // 4, 20:28] = True
    covered = np.zeros_like(wanted)
    boxes = window_boxes(wanted.shape, (32, 24, 24), 0.25, wanted)
    for box in boxes:
        covered[box] = True
    assert not (wanted & ~covered).any()
    assert len(boxes) < len(window_boxes(wanted.shape, (32, 24, 24), 0.25))


def test_nothing_wanted_needs_no_window():
    assert window_boxes((40, 40, 40), (16, 16, 16), 0.5, np.zeros((40, 40, 40), bool)) == []


def test_blending_equal_answers_changes_nothing_and_tells_what_was_covered():
    blend = Blend(2, (20, 8, 8), (8, 8, 8))
    values = torch.stack([torch.full((8, 8, 8), 3.0), torch.full((8, 8, 8), -1.0)])
    slabs = []
    for box in window_boxes((16, 8, 8), (8, 8, 8), 0.5):
        slabs.append(blend.finish(box[0].start))
        blend.add(box, values)
    slabs = [slab for slab in (*slabs, blend.finish(20)) if slab is not None]
    assert [(s.slices.start, s.slices.stop) for s in slabs] == [(0, 4), (4, 8), (8, 16)]
    assert all(slab.covered.all() for slab in slabs)
    for slab in slabs:
        expected = torch.tensor([3.0, -1.0])[:, None, None, None].expand_as(slab.mean)
        torch.testing.assert_close(slab.mean, expected)


def blended_at_once(shape, window, boxes, values):
    """The readable twin of `Blend`: sums over the whole volume."""
    total, weight = torch.zeros(values[0].shape[0], *shape), torch.zeros(shape)
    bell = blend_weights(window)
    for box, answer in zip(boxes, values, strict=True):
        total[(slice(None), *box)] += answer * bell
        weight[box] += bell
    return total / weight.clamp_min(1e-6), weight > 0


@pytest.mark.parametrize("starts", [[0, 3, 3, 9], [2, 20], [0, 8, 16], [22]])
def test_slab_by_slab_gives_what_the_whole_volume_gives(starts):
    shape, window = (30, 9, 8), (8, 6, 8)
    boxes = [(slice(z, z + 8), slice(y, y + 6), slice(0, 8)) for z in starts for y in (0, 3)]
    values = [torch.randn(3, *window) for _ in boxes]
    mean, covered = blended_at_once(shape, window, boxes, values)
    blend, found = Blend(3, shape, window), torch.zeros(3, *shape)
    seen = torch.zeros(shape, dtype=torch.bool)
    for box, answer in [*zip(boxes, values, strict=True), (None, None)]:
        slab = blend.finish(shape[0] if box is None else box[0].start)
        if slab is not None:
            found[:, slab.slices], seen[slab.slices] = slab.mean, slab.covered
        if box is not None:
            blend.add(box, answer)
    assert torch.equal(seen, covered)
    torch.testing.assert_close(found, mean)


def test_a_window_behind_finished_slices_is_refused():
    blend = Blend(1, (20, 8, 8), (8, 8, 8))
    blend.finish(5)
    with pytest.raises(ValueError, match="slice 4"):
        blend.add((slice(4, 12), slice(0, 8), slice(0, 8)), torch.zeros(1, 8, 8, 8))


def test_the_middle_of_a_window_weighs_most_and_its_rim_something():
    weights = blend_weights((8, 8, 8))
    assert weights.max() == weights[4, 4, 4]
    assert weights.min() >= 1e-3
