"""Resampling and cropping of volumes on oblique grids."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.imaging.resample import axis_weights, crop_geometry, grid_with_spacing, resample_box
from spinemamba.imaging.volume import Geometry

SKEW = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


def geometry(shape=(10, 12, 14), spacing_mm=(2.0, 1.0, 0.5)) -> Geometry:
    return Geometry(shape, spacing_mm, (5.0, -3.0, 40.0), SKEW)


def ramp(grid: Geometry) -> np.ndarray:
    """A linear field, which linear interpolation reproduces exactly inside the grid."""
    points = grid.to_lps_mm(np.stack(np.indices(grid.shape), axis=-1))
    return points @ np.array([0.3, -0.7, 1.1])


def test_the_value_halfway_between_two_voxels_is_their_mean():
    assert axis_weights(3, np.array([0.5]), 1.0).tolist() == [[0.5, 0.5, 0.0]]


def test_a_coarser_target_averages_instead_of_skipping():
    weights = axis_weights(9, np.array([4.0]), 2.0)
    assert weights[0].tolist() == [0, 0, 0, 0.25, 0.5, 0.25, 0, 0, 0]


def test_values_beyond_the_ends_are_those_of_the_outermost_voxel():
    assert axis_weights(3, np.array([-2.0, 9.0]), 1.0).tolist() == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("spacing_mm", [0.7, 1.5, (0.9, 2.0, 0.25)])
def test_a_linear_field_is_sampled_exactly_on_an_oblique_grid(spacing_mm):
    source = geometry(shape=(20, 30, 40))
    target = grid_with_spacing(source, spacing_mm)
    # Values at the rim are extrapolated as constants, unlike the linear field.
    inside = np.s_[5:-5, 5:-5, 5:-5]
    off = np.abs(resample_box(ramp(source), source, target) - ramp(target))[inside]
    assert off.size > 100
    assert off.max() < 1e-3


def test_channels_are_resampled_like_single_images():
    source = geometry()
    target = grid_with_spacing(source, 1.3)
    both = np.stack([ramp(source), -ramp(source)])
    out = resample_box(both, source, target)
    np.testing.assert_allclose(out[0], resample_box(both[0], source, target), atol=1e-4)
    np.testing.assert_allclose(out[1], -out[0], atol=1e-4)


def test_outer_faces_coincide_on_a_grid_of_another_spacing():
    source = geometry()
    target = grid_with_spacing(source, 1.0)
    np.testing.assert_allclose(
        source.to_lps_mm([-0.5, -0.5, -0.5]), target.to_lps_mm([-0.5, -0.5, -0.5]), atol=1e-9
    )
    assert target.shape == (20, 12, 7)


def test_a_crop_keeps_the_position_of_every_voxel():
    source = geometry()
    crop = crop_geometry(source, np.s_[3:5, 2:9, 1:2])
    np.testing.assert_allclose(crop.to_lps_mm([1, 2, 0]), source.to_lps_mm([4, 4, 1]))


def test_rotated_axes_are_refused():
    other = Geometry((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    with pytest.raises(ValueError, match="parallel"):
        resample_box(np.zeros((10, 12, 14)), geometry(), other)
