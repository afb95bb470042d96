"""The network that cuts between neighbouring vertebrae: features and cuts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from spinemamba.instances.boundary_net import (
    BASELINE_SLOPE,
    FEATURES,
    SAMPLE_OFFSETS,
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
    """Return two bodies, the first at the top, connected by thin bone, and their centroids."""
    bone = np.zeros((44, 24, 24), bool)
    bone[24:40, 4:18, 4:20] = bone[4:20, 4:18, 4:20] = True
    bone[18:26, 9:13, 10:14] = True
    return bone, np.array([[31.5, 10.5, 11.5], [11.5, 10.5, 11.5]]) * MM


def neighbours(centroids: np.ndarray) -> NeighbourPair:
    usual = mean_coefficients(np.array([20.0]))[0]
    return NeighbourPair(frames(centroids)[0], usual, usual, 20.0)


def test_depth_is_sampled_at_the_nearest_voxel_of_the_array():
    bone, _ = two_blocks()
    depth = bone_depth(bone, MM, FAR_MM)
    points = np.argwhere(bone)[::211] * np.array(MM)
    offsets = np.random.default_rng(0).uniform(-60, 60, (40, 3))
    result = depth.at_offsets(points, offsets)
    last = np.array(bone.shape) - 1
    for point, row in zip(points, result, strict=True):
        for offset, value in zip(offsets, row, strict=True):
            there = np.clip(np.rint(point / 1.5) + np.rint(offset / 1.5), 0, last).astype(int)
            assert value == depth.depth_mm[tuple(there)]
    assert depth.at_offsets(np.zeros((0, 3)), offsets).shape == (0, 40)


@pytest.mark.parametrize("slab_vox", [4, 64])
def test_depth_is_the_signed_distance_to_the_border(slab_vox):
    bone, spacing_mm = two_blocks()[0], (1.0, 1.5, 2.25)
    bone[17:27] = False  # a slab without bone
    bone[20:24, 2:5, 20:] = True  # and a piece at the border
    inside = ndimage.distance_transform_edt(bone, spacing_mm)
    outside = ndimage.distance_transform_edt(~bone, spacing_mm)
    depth = bone_depth(bone, spacing_mm, 4.0, slab_vox)
    np.testing.assert_allclose(depth.depth_mm, np.clip(inside - outside, -4, 4), rtol=1e-6)
    assert (bone_depth(np.ones((3, 3, 3), bool), spacing_mm, 4.0).depth_mm == 4).all()


def test_features_equal_depths_sampled_in_a_loop():
    bone, centroids = two_blocks()
    pair, depth = neighbours(centroids), bone_depth(bone, MM, FAR_MM)
    points = np.argwhere(bone)[::97] * np.array(MM)
    result = pair.features(points, depth)
    assert result.shape == (len(points), FEATURES)
    frame = pair.frame
    for point, row in zip(points, result, strict=True):
        side = frame.side * (-1 if (point - frame.middle_mm) @ frame.side < 0 else 1)
        for (down, back, out), value in zip(SAMPLE_OFFSETS, row[7:], strict=True):
            there = point + (down * frame.down + back * frame.back + out * side) * frame.step_mm
            nearest = np.clip(np.rint(there / 1.5), 0, np.array(bone.shape) - 1).astype(int)
            expected = np.clip(depth.depth_mm[tuple(nearest)] * 30 / frame.step_mm, -8, 8) / 8
            assert value == pytest.approx(expected, abs=0.2)  # rounding may take the next voxel
    np.testing.assert_allclose(result[:, 2], pair.beyond(points), atol=1e-5)


def test_features_are_symmetric():
    bone, centroids = two_blocks()
    bone[28:30, 8:10, 20:22] = True  # one side only
    centre = (bone.shape[2] - 1) / 2
    points = np.argwhere(bone)[::53]
    mirrored = points * [1, 1, -1] + [0, 0, bone.shape[2] - 1]
    assert centroids[0, 2] == centre * 1.5
    pair = neighbours(centroids)
    here = pair.features(points * np.array(MM), bone_depth(bone, MM, FAR_MM))
    there = pair.features(mirrored * np.array(MM), bone_depth(bone[..., ::-1], MM, FAR_MM))
    np.testing.assert_allclose(here, there, atol=1e-5)


def test_a_network_of_zeros_cuts_along_the_fitted_surface():
    bone, centroids = two_blocks()
    pair, points = neighbours(centroids), np.argwhere(bone) * np.array(MM)
    flat = BoundaryNet(((np.zeros((1, FEATURES), np.float32), np.zeros(1, np.float32)),))
    coordinate = np.where(points[:, 0] > 33, 1.0, 2.0)
    result = boundary_coordinate(points, coordinate, [pair], bone_depth(bone, MM, FAR_MM), flat)
    expected = 1 + 1 / (1 + np.exp(-BASELINE_SLOPE * pair.beyond(points)))
    near = np.abs(pair.beyond(points)) < 0.99
    np.testing.assert_allclose(result[near], expected[near], atol=1e-5)
    assert (result[pair.beyond(points) > 1] == 2).all()
    assert (result[pair.beyond(points) < -1] == 1).all()


def test_bundled_network_cuts_at_a_waist():
    bone, centroids = two_blocks()
    points = np.argwhere(bone) * np.array(MM)
    coordinate = np.where(points[:, 0] > 33, 1.0, 2.0)
    result = boundary_coordinate(
        points,
        coordinate,
        [neighbours(centroids)],
        bone_depth(bone, MM, FAR_MM),
        load_boundary_net(),
    )
    assert (result[points[:, 0] > 26 * 1.5] < 1.5).all()
    assert (result[points[:, 0] < 17 * 1.5] > 1.5).all()


def test_centroid_of_a_collapsed_body_is_robust_to_a_deep_arch():
    cores = [np.array([[z, y, 0.0] for y in range(-5, 6)]) for z in (60.0, 30.0, 0.0)]
    arch = np.array([[30.0, y, 0.0] for y in range(30, 41)])
    points = np.concatenate([*cores, arch])
    numbers = np.repeat([1, 2, 3, 2], 11)
    centroids = core_centroids(points, numbers, 3)
    assert abs(centroids[1, 1]) < 2  # the mean is 17.5
    np.testing.assert_allclose(centroids[[0, 2]], [[60, 0, 0], [0, 0, 0]])
