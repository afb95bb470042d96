from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from spinemamba.anatomy.statistics import STEP_MM
from spinemamba.instances.cut_surfaces import (
    MEAN,
    MEAN_AT,
    fit_surfaces,
    frames,
    mean_coefficients,
)
from spinemamba.instances.geodesic import nearest_seed
from spinemamba.instances.partition import PartitionOptions, VoxelHints, assign_voxels
from spinemamba.instances.spine_coordinate import coordinate_of_levels, level_positions, spine_curve
from spinemamba.instances.total_variation import bone_graph, smooth_over_bone

MM = (1.0, 1.0, 1.0)

SHAPELESS = PartitionOptions(shape=1.0)
"""For blocks: what is learned of the shape of vertebrae says nothing of them."""


def test_an_arch_goes_to_the_body_it_hangs_on_by_thick_bone():
    bone, seeds = np.zeros((24, 24, 24), bool), np.zeros((24, 24, 24), int)
    bone[2:10, 2:10, 8:16] = bone[14:22, 2:10, 8:16] = True  # two bodies
    bone[3:9, 10:20, 9:15] = True  # the lower one's thick pedicle and arch
    bone[9:14, 18, 11] = True  # which touches, by a thread, ...
    bone[14, 10:19, 11] = True  # ... a thin arch of the upper one
    seeds[5, 5, 12], seeds[18, 5, 12] = 1, 2
    labels = nearest_seed(seeds, bone, MM)
    assert (labels[3:9, 10:20, 9:15] == 1).all()
    assert (labels[14:22, 2:10, 8:16] == 2).all()
    assert (labels[bone] > 0).all()
    assert not labels[~bone].any()


def column(cut: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A column of bone with two cores, the first at the top, and a level that ends at ``cut``."""
    bone, seeds = np.zeros((40, 30, 12), bool), np.zeros((40, 30, 12), np.int32)
    bone[2:38, 1:29, 1:11] = True
    seeds[28:32, 3:9, 4:8], seeds[8:12, 3:9, 4:8] = 1, 2
    level = np.where(np.arange(40) < cut, 21.0, 20.0)[:, None, None] * np.ones(bone.shape)
    return seeds, bone, level.astype(np.float32)


def test_bone_is_parted_where_the_level_changes():
    seeds, bone, level = column(cut=17)
    labels = assign_voxels(seeds, bone, VoxelHints(level, None), MM, options=SHAPELESS)
    behind = bone[:, 12:] * np.ones((40, 18, 12), bool)
    assert (labels[18:, 12:][behind[18:]] == 1).all()
    assert (labels[:16, 12:][behind[:16]] == 2).all()


def test_bone_goes_where_it_points():
    seeds, bone, level = column()
    offsets = np.zeros((3, *bone.shape), np.float16)
    z = np.arange(40)[:, None, None] * np.ones(bone.shape)
    offsets[0] = np.where(z >= 15, 29.5, 9.5) - z  # level 12 for all: only this tells
    hints = VoxelHints(np.full_like(level, 12.0), offsets)
    labels = assign_voxels(seeds, bone, hints, MM, options=SHAPELESS)
    assert (labels[18:][bone[18:]] == 1).all()
    assert (labels[:12][bone[:12]] == 2).all()


def test_loose_bone_and_a_single_core_are_taken_care_of():
    seeds, bone, level = column()
    bone[:, 10] = False  # what lies behind hangs together with no core
    labels = assign_voxels(seeds, bone, VoxelHints(level, None), MM)
    assert not labels[:, 11:].any()
    one = np.where(seeds == 1, 1, 0)
    labels = assign_voxels(one, bone, VoxelHints(level, None), MM)
    assert (labels[:, :10][bone[:, :10]] == 1).all()


def test_seeds_keep_their_voxels_whatever_these_say():
    seeds, bone, level = column()
    offsets = np.full((3, *bone.shape), 200.0, np.float16)
    labels = assign_voxels(seeds, bone, VoxelHints(41 - level, offsets), MM)
    assert (labels[seeds > 0] == seeds[seeds > 0]).all()


def cheapest_cut(z: np.ndarray, w: float, price: float) -> np.ndarray:
    """Which places of a line lie above 1.5, by maximum flow: the slow and certain way."""
    count, scale = len(z), 10_000
    flow = np.zeros((count + 2, count + 2), np.int32)
    worth = np.round(scale * w * (z - 1.5)).astype(int)
    flow[count, :count], flow[:count, count + 1] = np.maximum(worth, 0), np.maximum(-worth, 0)
    for k in range(count - 1):
        flow[k, k + 1] = flow[k + 1, k] = round(scale * price)
    found = maximum_flow(sparse.csr_matrix(flow), count, count + 1)
    left = sparse.csr_matrix(np.maximum(flow - found.flow.toarray(), 0))
    reached = breadth_first_order(left, count, return_predecessors=False)
    return np.isin(np.arange(count), reached)


@pytest.mark.parametrize("seed", range(5))
def test_rounded_smooth_values_are_the_cheapest_cut(seed: int):
    z = np.clip(np.linspace(1, 2, 40) + np.random.default_rng(seed).normal(0, 0.4, 40), 1, 2)
    graph = bone_graph(np.ones((40, 1, 1), bool), MM)
    u = smooth_over_bone(z, np.full(40, 2.0), graph, 1.5, 3000)
    assert (np.round(u) - 1 == cheapest_cut(z, 2.0, 1.5)).all()


def test_the_curve_counts_cores_and_goes_on_beyond_them():
    curve = spine_curve(np.array([[100.0, 0, 0], [70.0, 0, 0], [40.0, 0, 0]]))
    at = curve.at(np.array([[100.0, 30, 0], [85.0, -20, 5], [40.0, 0, 0], [25.0, 0, 0]]))
    np.testing.assert_allclose(at, [1, 1.5, 3, 3.5], atol=0.05)


def test_levels_become_places_in_the_chain():
    found = coordinate_of_levels(np.array([9.0, 10.5, 13.0]), np.array([10.0, 11.0, 12.0]))
    np.testing.assert_allclose(found, [0, 1.5, 4], atol=0.01)


@pytest.mark.parametrize("first", [0, 6, 17])
def test_distances_say_roughly_which_part_of_the_spine_it_is(first: int):
    steps = [mean for (_, lower), (mean, _) in STEP_MM.items() if lower not in ("T13", "L6")]
    steps = np.delete(steps, 18)[first : first + 6]  # without T11 to L1
    centres = np.zeros((len(steps) + 1, 3))
    centres[1:, 0] = -np.cumsum(steps)
    places = level_positions(centres, np.full(len(centres), 12.0))
    assert abs(places[0] - first) <= 2
    told = level_positions(centres, 3.0 + np.arange(len(centres)))
    np.testing.assert_allclose(told, 3.0 + np.arange(len(centres)))


def test_a_spine_gets_its_own_tilt_and_keeps_the_usual_bend():
    rng = np.random.default_rng(0)
    points = rng.uniform((0, -15, -20), (60, 60, 20), (6000, 3))
    pairs = frames(np.array([[45.0, 0, 0], [15.0, 0, 0]]))
    usual = mean_coefficients(np.array([10.0]))
    np.testing.assert_allclose(usual[0], MEAN[MEAN_AT.index(10.0)])
    place, terms = pairs[0].terms(points)
    own = usual[0] + np.array([0.1, 0.4, 0, 0, 0, 0, 0])
    found = fit_surfaces(points, np.where(place > terms @ own, 2, 1), pairs, usual)[0]
    assert usual[0, 1] + 0.1 < found[1] < own[1]  # the usual tilt holds it back
    np.testing.assert_allclose(found[3:], usual[0][3:], atol=0.05)
