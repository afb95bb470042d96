"""Assignment of bone to vertebrae by cores, levels, offsets and shape."""

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

SHAPELESS = PartitionOptions(shape_weight=1.0)
"""For blocks, for which the boundary network has no meaning."""


def test_arch_is_assigned_to_the_body_connected_by_thick_bone():
    bone, seeds = np.zeros((24, 24, 24), bool), np.zeros((24, 24, 24), int)
    bone[2:10, 2:10, 8:16] = bone[14:22, 2:10, 8:16] = True  # two bodies
    bone[3:9, 10:20, 9:15] = True  # thick pedicle and arch of the lower body,
    bone[9:14, 18, 11] = True  # connected by a thin bridge of bone
    bone[14, 10:19, 11] = True  # with a thin arch of the upper body
    seeds[5, 5, 12], seeds[18, 5, 12] = 1, 2
    labels = nearest_seed(seeds, bone, MM)
    assert (labels[3:9, 10:20, 9:15] == 1).all()
    assert (labels[14:22, 2:10, 8:16] == 2).all()
    assert (labels[bone] > 0).all()
    assert not labels[~bone].any()


def column(cut: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two cores from top to bottom, a column of bone, and levels that change at ``cut``."""
    bone, seeds = np.zeros((40, 30, 12), bool), np.zeros((40, 30, 12), np.int32)
    bone[2:38, 1:29, 1:11] = True
    seeds[28:32, 3:9, 4:8], seeds[8:12, 3:9, 4:8] = 1, 2
    level = np.where(np.arange(40) < cut, 21.0, 20.0)[:, None, None] * np.ones(bone.shape)
    return seeds, bone, level.astype(np.float32)


def test_bone_is_divided_where_the_level_changes():
    seeds, bone, level = column(cut=17)
    labels = assign_voxels(seeds, bone, VoxelHints(level, None), MM, options=SHAPELESS)
    behind = bone[:, 12:] * np.ones((40, 18, 12), bool)
    assert (labels[18:, 12:][behind[18:]] == 1).all()
    assert (labels[:16, 12:][behind[:16]] == 2).all()


def test_bone_is_assigned_to_the_core_its_offset_points_to():
    seeds, bone, level = column()
    offsets = np.zeros((3, *bone.shape), np.float16)
    z = np.arange(40)[:, None, None] * np.ones(bone.shape)
    offsets[0] = np.where(z >= 15, 29.5, 9.5) - z  # the only hint, as the level is 12 everywhere
    hints = VoxelHints(np.full_like(level, 12.0), offsets)
    labels = assign_voxels(seeds, bone, hints, MM, options=SHAPELESS)
    assert (labels[18:][bone[18:]] == 1).all()
    assert (labels[:12][bone[:12]] == 2).all()


def test_loose_bone_is_removed_also_with_a_single_core():
    seeds, bone, level = column()
    bone[:, 10] = False  # bone behind is not connected with a core
    labels = assign_voxels(seeds, bone, VoxelHints(level, None), MM)
    assert not labels[:, 11:].any()
    one = np.where(seeds == 1, 1, 0)
    labels = assign_voxels(one, bone, VoxelHints(level, None), MM)
    assert (labels[:, :10][bone[:, :10]] == 1).all()


def test_seeds_keep_their_voxels_despite_contradicting_hints():
    seeds, bone, level = column()
    offsets = np.full((3, *bone.shape), 200.0, np.float16)
    labels = assign_voxels(seeds, bone, VoxelHints(41 - level, offsets), MM)
    assert (labels[seeds > 0] == seeds[seeds > 0]).all()


def minimum_cut(z: np.ndarray, w: float, tv_weight_mm: float) -> np.ndarray:
    """Return the mask of positions above 1.5 by maximum flow, the slow reference."""
    count, scale = len(z), 10_000
    flow = np.zeros((count + 2, count + 2), np.int32)
    excess = np.round(scale * w * (z - 1.5)).astype(int)
    flow[count, :count], flow[:count, count + 1] = np.maximum(excess, 0), np.maximum(-excess, 0)
    for k in range(count - 1):
        flow[k, k + 1] = flow[k + 1, k] = round(scale * tv_weight_mm)
    found = maximum_flow(sparse.csr_matrix(flow), count, count + 1)
    residual = sparse.csr_matrix(np.maximum(flow - found.flow.toarray(), 0))
    source_side = breadth_first_order(residual, count, return_predecessors=False)
    return np.isin(np.arange(count), source_side)


@pytest.mark.parametrize("seed", range(5))
def test_rounded_smooth_values_are_the_minimum_cut(seed: int):
    z = np.clip(np.linspace(1, 2, 40) + np.random.default_rng(seed).normal(0, 0.4, 40), 1, 2)
    graph = bone_graph(np.ones((40, 1, 1), bool), MM)
    u = smooth_over_bone(z, np.full(40, 2.0), graph, 1.5, 3000)
    assert (np.round(u) - 1 == minimum_cut(z, 2.0, 1.5)).all()


def test_curve_coordinate_counts_cores_and_is_extrapolated():
    curve = spine_curve(np.array([[100.0, 0, 0], [70.0, 0, 0], [40.0, 0, 0]]))
    at = curve.at(np.array([[100.0, 30, 0], [85.0, -20, 5], [40.0, 0, 0], [25.0, 0, 0]]))
    np.testing.assert_allclose(at, [1, 1.5, 3, 3.5], atol=0.05)


def test_levels_are_converted_to_spine_coordinates():
    found = coordinate_of_levels(np.array([9.0, 10.5, 13.0]), np.array([10.0, 11.0, 12.0]))
    np.testing.assert_allclose(found, [0, 1.5, 4], atol=0.01)


@pytest.mark.parametrize("first", [0, 6, 17])
def test_distances_locate_the_cores_in_the_spine(first: int):
    steps = [mean for (_, lower), (mean, _) in STEP_MM.items() if lower not in ("T13", "L6")]
    steps = np.delete(steps, 18)[first : first + 6]  # without T11 to L1
    centres = np.zeros((len(steps) + 1, 3))
    centres[1:, 0] = -np.cumsum(steps)
    places = level_positions(centres, np.full(len(centres), 12.0))
    assert abs(places[0] - first) <= 2
    positions = level_positions(centres, 3.0 + np.arange(len(centres)))
    np.testing.assert_allclose(positions, 3.0 + np.arange(len(centres)))


def test_surface_fit_changes_tilt_and_keeps_mean_curvature():
    rng = np.random.default_rng(0)
    points = rng.uniform((0, -15, -20), (60, 60, 20), (6000, 3))
    pairs = frames(np.array([[45.0, 0, 0], [15.0, 0, 0]]))
    mean = mean_coefficients(np.array([10.0]))
    np.testing.assert_allclose(mean[0], MEAN[MEAN_AT.index(10.0)])
    place, terms = pairs[0].terms(points)
    expected = mean[0] + np.array([0.1, 0.4, 0, 0, 0, 0, 0])
    found = fit_surfaces(points, np.where(place > terms @ expected, 2, 1), pairs, mean)[0]
    assert mean[0, 1] + 0.1 < found[1] < expected[1]  # the prior limits the tilt
    np.testing.assert_allclose(found[3:], mean[0][3:], atol=0.05)
