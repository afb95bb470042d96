from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from spinemamba.instances import boundary_net
from spinemamba.instances.boundary_net import (
    FEATURES,
    SAMPLE_OFFSETS,
    STEEPNESS,
    BoundaryNet,
    NeighbourPair,
    bone_depth,
    boundary_coordinate,
    load_boundary_net,
)
from spinemamba.instances.cut_surfaces import frames, mean_coefficients
from spinemamba.instances.spine_coordinate import core_centroids

MM, FAR_MM = (1.5, 1.5, 1.5), 20.0


def two_blocks() -> tuple[np.ndarray, np.ndarray]:
    """Two bodies, the first at the top, with a waist of bone between them; and their middles."""
    bone = np.zeros((44, 24, 24), bool)
    bone[24:40, 4:18, 4:20] = bone[4:20, 4:18, 4:20] = True
    bone[18:26, 9:13, 10:14] = True
    return bone, np.array([[31.5, 10.5, 11.5], [11.5, 10.5, 11.5]]) * MM


def neighbours(middles: np.ndarray) -> NeighbourPair:
    usual = mean_coefficients(np.array([20.0]))[0]
    return NeighbourPair(frames(middles)[0], usual, usual, 20.0)


def test_depth_is_read_at_the_nearest_voxel_and_at_the_rim_beyond():
    bone, _ = two_blocks()
    about = bone_depth(bone, MM, FAR_MM)
    points = np.argwhere(bone)[::211] * np.array(MM)
    offsets = np.random.default_rng(0).uniform(-60, 60, (40, 3))
    found = about.at_offsets(points, offsets)
    last = np.array(bone.shape) - 1
    for point, row in zip(points, found, strict=True):
        for offset, value in zip(offsets, row, strict=True):
            there = np.clip(np.rint(point / 1.5) + np.rint(offset / 1.5), 0, last).astype(int)
            assert value == about.depth_mm[tuple(there)]
    assert about.at_offsets(np.zeros((0, 3)), offsets).shape == (0, 40)


@pytest.mark.parametrize("slab", [4, 64])
def test_depth_is_the_distance_to_the_nearest_voxel_on_the_other_side(slab, monkeypatch):
    monkeypatch.setattr(boundary_net, "SLAB", slab)
    bone, spacing_mm = two_blocks()[0], (1.0, 1.5, 2.25)
    bone[17:27] = False  # a slab without any
    bone[20:24, 2:5, 20:] = True  # and a piece at the rim
    inside = ndimage.distance_transform_edt(bone, spacing_mm)
    outside = ndimage.distance_transform_edt(~bone, spacing_mm)
    about = bone_depth(bone, spacing_mm, 4.0)
    np.testing.assert_allclose(about.depth_mm, np.clip(inside - outside, -4, 4), rtol=1e-6)
    assert (bone_depth(np.ones((3, 3, 3), bool), spacing_mm, 4.0).depth_mm == 4).all()


def test_features_are_depths_around_a_voxel_as_a_loop_finds_them():
    bone, middles = two_blocks()
    pair, about = neighbours(middles), bone_depth(bone, MM, FAR_MM)
    points = np.argwhere(bone)[::97] * np.array(MM)
    found = pair.features(points, about)
    assert found.shape == (len(points), FEATURES)
    frame = pair.frame
    for point, row in zip(points, found, strict=True):
        side = frame.side * (-1 if (point - frame.middle_mm) @ frame.side < 0 else 1)
        for (down, back, out), value in zip(SAMPLE_OFFSETS, row[7:], strict=True):
            there = point + (down * frame.down + back * frame.back + out * side) * frame.step_mm
            nearest = np.clip(np.rint(there / 1.5), 0, np.array(bone.shape) - 1).astype(int)
            expected = np.clip(about.depth_mm[tuple(nearest)] * 30 / frame.step_mm, -8, 8) / 8
            assert value == pytest.approx(expected, abs=0.2)  # rounding may take the next voxel
    np.testing.assert_allclose(found[:, 2], pair.beyond(points), atol=1e-5)


def test_left_and_right_look_the_same():
    bone, middles = two_blocks()
    bone[28:30, 8:10, 20:22] = True  # one side only
    centre = (bone.shape[2] - 1) / 2
    points = np.argwhere(bone)[::53]
    mirrored = points * [1, 1, -1] + [0, 0, bone.shape[2] - 1]
    assert middles[0, 2] == centre * 1.5
    pair = neighbours(middles)
    here = pair.features(points * np.array(MM), bone_depth(bone, MM, FAR_MM))
    there = pair.features(mirrored * np.array(MM), bone_depth(bone[..., ::-1], MM, FAR_MM))
    np.testing.assert_allclose(here, there, atol=1e-5)


def test_a_network_of_zeros_cuts_along_the_own_surface():
    bone, middles = two_blocks()
    pair, points = neighbours(middles), np.argwhere(bone) * np.array(MM)
    flat = BoundaryNet(((np.zeros((1, FEATURES), np.float32), np.zeros(1, np.float32)),))
    about = np.where(points[:, 0] > 33, 1.0, 2.0)
    index = boundary_coordinate(points, about, [pair], bone_depth(bone, MM, FAR_MM), flat)
    expected = 1 + 1 / (1 + np.exp(-STEEPNESS * pair.beyond(points)))
    near = np.abs(pair.beyond(points)) < 0.99
    np.testing.assert_allclose(index[near], expected[near], atol=1e-5)
    assert (index[pair.beyond(points) > 1] == 2).all()
    assert (index[pair.beyond(points) < -1] == 1).all()


def test_the_weights_that_come_along_cut_at_a_waist():
    bone, middles = two_blocks()
    points = np.argwhere(bone) * np.array(MM)
    about = np.where(points[:, 0] > 33, 1.0, 2.0)
    found = boundary_coordinate(
        points, about, [neighbours(middles)], bone_depth(bone, MM, FAR_MM), load_boundary_net()
    )
    assert (found[points[:, 0] > 26 * 1.5] < 1.5).all()
    assert (found[points[:, 0] < 17 * 1.5] > 1.5).all()


def test_an_arch_that_is_deep_does_not_draw_the_middle_of_a_crushed_body():
    cores = [np.array([[z, y, 0.0] for y in range(-5, 6)]) for z in (60.0, 30.0, 0.0)]
    arch = np.array([[30.0, y, 0.0] for y in range(30, 41)])
    points = np.concatenate([*cores, arch])
    numbers = np.repeat([1, 2, 3, 2], 11)
    middles = core_centroids(points, numbers, 3)
    assert abs(middles[1, 1]) < 2  # a plain mean says 17.5
    np.testing.assert_allclose(middles[[0, 2]], [[60, 0, 0], [0, 0, 0]])
