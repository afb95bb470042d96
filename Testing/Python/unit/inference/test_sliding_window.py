"""Positions of sliding windows, and their weighted mean."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from spinemamba.inference.sliding_window import (
    WindowAggregator,
    importance_map,
    window_boxes,
    window_starts,
)


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


def test_every_voxel_of_a_mask_lies_in_a_window():
    mask = np.zeros((120, 60, 50), bool)
    for z in range(10, 110):
        mask[z, 10 + z // 4 : 22 + z // 4, 20:28] = True
    covered = np.zeros_like(mask)
    boxes = window_boxes(mask.shape, (32, 24, 24), 0.25, mask)
    for box in boxes:
        covered[box] = True
    assert not (mask & ~covered).any()
    assert len(boxes) < len(window_boxes(mask.shape, (32, 24, 24), 0.25))


def test_an_empty_mask_needs_no_window():
    assert window_boxes((40, 40, 40), (16, 16, 16), 0.5, np.zeros((40, 40, 40), bool)) == []


def test_constant_windows_have_a_constant_mean_and_mark_covered_voxels():
    aggregator = WindowAggregator(2, (20, 8, 8), (8, 8, 8))
    values = torch.stack([torch.full((8, 8, 8), 3.0), torch.full((8, 8, 8), -1.0)])
    slabs = []
    for box in window_boxes((16, 8, 8), (8, 8, 8), 0.5):
        slabs.append(aggregator.finish(box[0].start))
        aggregator.add(box, values)
    slabs = [slab for slab in (*slabs, aggregator.finish(20)) if slab is not None]
    assert [(s.slices.start, s.slices.stop) for s in slabs] == [(0, 4), (4, 8), (8, 16)]
    assert all(slab.covered.all() for slab in slabs)
    for slab in slabs:
        expected = torch.tensor([3.0, -1.0])[:, None, None, None].expand_as(slab.mean)
        torch.testing.assert_close(slab.mean, expected)


def aggregate_at_once(shape, window, boxes, values):
    """Do the same as `WindowAggregator` with sums over the whole volume."""
    total, weight = torch.zeros(values[0].shape[0], *shape), torch.zeros(shape)
    weights = importance_map(window)
    for box, output in zip(boxes, values, strict=True):
        total[(slice(None), *box)] += output * weights
        weight[box] += weights
    return total / weight.clamp_min(1e-6), weight > 0


@pytest.mark.parametrize("starts", [[0, 3, 3, 9], [2, 20], [0, 8, 16], [22]])
def test_aggregating_slab_by_slab_equals_aggregating_the_whole_volume(starts):
    shape, window = (30, 9, 8), (8, 6, 8)
    boxes = [(slice(z, z + 8), slice(y, y + 6), slice(0, 8)) for z in starts for y in (0, 3)]
    values = [torch.randn(3, *window) for _ in boxes]
    mean, covered = aggregate_at_once(shape, window, boxes, values)
    aggregator, mean_by_slabs = WindowAggregator(3, shape, window), torch.zeros(3, *shape)
    covered_by_slabs = torch.zeros(shape, dtype=torch.bool)
    for box, output in [*zip(boxes, values, strict=True), (None, None)]:
        slab = aggregator.finish(shape[0] if box is None else box[0].start)
        if slab is not None:
            mean_by_slabs[:, slab.slices], covered_by_slabs[slab.slices] = slab.mean, slab.covered
        if box is not None:
            aggregator.add(box, output)
    assert torch.equal(covered_by_slabs, covered)
    torch.testing.assert_close(mean_by_slabs, mean)


def test_a_window_over_finished_slices_is_refused():
    aggregator = WindowAggregator(1, (20, 8, 8), (8, 8, 8))
    aggregator.finish(5)
    with pytest.raises(ValueError, match="slice 4"):
        aggregator.add((slice(4, 12), slice(0, 8), slice(0, 8)), torch.zeros(1, 8, 8, 8))


def test_weights_are_largest_in_the_middle_and_positive_at_the_border():
    weights = importance_map((8, 8, 8))
    assert weights.max() == weights[4, 4, 4]
    assert weights.min() >= 1e-3
