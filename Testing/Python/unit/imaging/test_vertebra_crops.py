"""Straightened crops: each vertebra upright and at the same place."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.imaging.truncation import FieldOfView
from spinemamba.imaging.vertebra_crops import (
    CROP_CENTRE_VOX,
    CROP_MM,
    IMAGE,
    IN_VIEW,
    OTHERS,
    OUTSIDE,
    THIS,
    crop_offsets_mm,
    vertebra_crops,
    vertebra_frames,
)
from spinemamba.imaging.volume import Geometry, Volume

SHAPE = (90, 90, 100)
TILTS = [0.0, 25.0]


def bodies(tilt_deg: float) -> tuple[Volume, np.ndarray]:
    """Return three boxes on a line inclined to the left, numbered from the top, and their axis."""
    geometry = Geometry(SHAPE, (2.0, 2.0, 2.0), (10.0, -20.0, 5.0), np.eye(3))
    tilt = np.radians(tilt_deg)
    up, left = np.array([np.cos(tilt), 0, np.sin(tilt)]), np.array([-np.sin(tilt), 0, np.cos(tilt)])
    at = np.moveaxis(np.indices(SHAPE), 0, -1) - np.array([45, 45, 50])
    along, back, aside = at @ up, at[..., 1], at @ left
    labels = np.zeros(SHAPE, np.uint8)
    for k, height in enumerate((15, 0, -15), start=1):
        inside = (abs(along - height) < 5.5) & (abs(back) < 7.5) & (abs(aside) < 9.5)
        labels[inside] = k
    return Volume(labels, geometry), up


@pytest.mark.parametrize("tilt_deg", TILTS)
def test_the_frame_of_a_vertebra_follows_the_spine(tilt_deg: float):
    labels, up = bodies(tilt_deg)
    frames = vertebra_frames(labels)
    assert frames.numbers.tolist() == [1, 2, 3]
    assert frames.axes[1][0] @ up > np.cos(np.radians(3))
    for axes in frames.axes:
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-6)
    assert (frames.axes[:, 1, 1] > 0.9).all()
    assert (frames.axes[:, 2, 2] > 0.9).all()


@pytest.mark.parametrize("row", [1, 2, 3])
def test_an_instance_beside_the_spine_does_not_tilt_its_neighbours(row: int):
    geometry = Geometry((90, 60, 60), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    labels = np.zeros(geometry.shape, np.uint8)
    for k in range(5):
        aside = 16 if k == row else 0
        labels[70 - 14 * k : 80 - 14 * k, 20:35, 10 + aside : 26 + aside] = k + 1
    frames = vertebra_frames(Volume(labels, geometry))
    assert (frames.axes[:, 0, 0] > np.cos(np.radians(2))).all()
    assert frames.centres_mm[row, 2] - frames.centres_mm[0, 2] == pytest.approx(32, abs=2)


@pytest.mark.parametrize("tilt_deg", TILTS)
def test_a_crop_shows_its_vertebra_upright_in_the_middle(tilt_deg: float):
    labels, _ = bodies(tilt_deg)
    image = labels.with_array((labels.array > 0).astype(np.float32) * 2 - 1)
    _, crops = vertebra_crops(image, labels)
    mask = crops[1, THIS] > 0
    middle = np.argwhere(mask).mean(axis=0)
    np.testing.assert_allclose(middle, CROP_CENTRE_VOX, atol=2.5)
    extent = np.ptp(np.argwhere(mask), axis=0) + 1
    np.testing.assert_allclose(extent, (11, 15, 19), atol=2.5)
    assert crops[1, IMAGE][mask].mean() > 0.8
    others = np.argwhere(crops[1, OTHERS] > 0)[:, 0]
    assert (others < 10).any()
    assert (others > 21).any()


def test_the_image_is_sampled_where_the_labels_are():
    labels, _ = bodies(0.0)
    fine = Geometry((120, 190, 200), (1.0, 1.0, 1.0), (8.0, -22.0, 25.0), np.eye(3))
    place = fine.to_lps_mm(np.moveaxis(np.indices(fine.shape), 0, -1))
    image = Volume(((place[..., 2] - 95) / 100).astype(np.float32), fine)
    frames, crops = vertebra_crops(image, labels)
    z_mm = frames.points_mm()[..., 0] + labels.geometry.origin_lps_mm[2]
    inside = crops[:, IN_VIEW] > 0
    away = inside & (z_mm > 30) & (z_mm < 140)
    assert away.any()
    np.testing.assert_allclose(crops[:, IMAGE][away], ((z_mm - 95) / 100)[away], atol=1e-3)


def test_what_lies_outside_of_the_image_is_not_in_view():
    labels, _ = bodies(0.0)
    image = labels.with_array(np.full(SHAPE, 0.3, np.float32))
    view = FieldOfView.of_grid(image.geometry)
    frames, crops = vertebra_crops(image, labels, view)
    at = frames.points_mm() / 2.0
    inside = ((at > 0) & (at < np.array(SHAPE) - 1)).all(axis=-1)
    assert (crops[:, IN_VIEW][inside] == 1).all()
    outside = ((at < -1) | (at > np.array(SHAPE))).any(axis=-1)
    assert (crops[:, IN_VIEW][outside] == 0).all()
    assert (crops[:, IMAGE][outside] == OUTSIDE).all()


def test_without_a_vertebra_there_are_no_crops():
    geometry = Geometry((5, 5, 5), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    empty = Volume(np.zeros(geometry.shape, np.uint8), geometry)
    frames, crops = vertebra_crops(empty.with_array(empty.array.astype(np.float32)), empty)
    assert len(frames.numbers) == len(crops) == 0


def test_the_centre_of_a_crop_is_the_origin_of_its_offsets():
    offsets = crop_offsets_mm()
    np.testing.assert_allclose(offsets.mean(axis=(0, 1, 2)), 0, atol=1e-9)
    assert offsets[1, 0, 0, 0] - offsets[0, 0, 0, 0] == CROP_MM
