"""Straightening of a curved spine keeps lengths along its centre line."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.imaging.straighten import straighten
from spinemamba.imaging.volume import Geometry, Volume

SPACING = (2.0, 1.5, 1.5)


def tube(bend_mm: float, count: int = 8) -> tuple[Volume, Volume]:
    """Return balls of 20 mm every 30 mm along an arc that bends to the back, and their image.

    The balls are numbered from the head, and each is as bright as its number.
    """
    shape = (150, 120, 80)
    geometry = Geometry(shape, SPACING, (0.0, 0.0, 0.0), np.eye(3))
    at = np.indices(shape).reshape(3, -1).T * SPACING
    labels = np.zeros(len(at), np.uint8)
    for number, middle in enumerate(centres(bend_mm, count), start=1):
        labels[np.linalg.norm(at - middle, axis=1) < 10] = number
    labels = labels.reshape(shape)
    return Volume(labels.astype(np.float32) * 100, geometry), Volume(labels, geometry)


def centres(bend_mm: float, count: int) -> np.ndarray:
    """Return positions (z, y, x) in mm from head to tail, 30 mm apart along a circle."""
    along = (np.arange(count) - (count - 1) / 2) * 30
    if not bend_mm:
        return np.stack([150 - along, np.full(count, 90.0), np.full(count, 60.0)], -1)
    angle = along / bend_mm
    return np.stack(
        [150 - bend_mm * np.sin(angle), 90 + bend_mm * (1 - np.cos(angle)), np.full(count, 60.0)],
        -1,
    )


@pytest.mark.parametrize("bend_mm", [0.0, 150.0])
def test_straightened_bodies_keep_their_distance_along_the_spine(bend_mm: float):
    side, front = straighten(*tube(bend_mm), pixel_mm=1.0)
    for view in (side, front):
        rows = np.array([view.bodies[n][0] for n in range(1, 9)])
        columns = np.array([view.bodies[n][1] for n in range(1, 9)])
        # Smoothing shortens a bend slightly; row 0 is the lowest.
        np.testing.assert_allclose(np.diff(rows), -30, atol=2.5)
        assert np.ptp(columns) < 6
    for number in range(1, 9):
        row, column = (round(v) for v in side.bodies[number])
        assert side.labels[row, column] == number
        # Balls of 20 mm at their true size; in a bend their anterior sides are closer.
        assert (side.labels == number).sum() == pytest.approx(314, rel=0.25)
        assert side.image[row, column] == pytest.approx(100 * number, rel=0.02)


def test_anterior_and_patient_right_are_on_the_left():
    image, labels = tube(0.0)
    array = image.array.copy()
    # Canonical axes: superior, posterior, left. A bright rod behind, and one at the left.
    array[:, 80] = 5000
    behind, _ = straighten(image.with_array(array), labels, pixel_mm=1.0)
    assert behind.image[100].argmax() > behind.bodies[4][1]
    array = image.array.copy()
    array[:, :, 60] = 5000
    _, left = straighten(image.with_array(array), labels, pixel_mm=1.0)
    assert left.image[100].argmax() > left.bodies[4][1]


def test_levels_in_a_wrong_order_do_not_fold_the_centre_line():
    image, labels = tube(150.0)
    swapped = labels.with_array(np.array([0, 8, 2, 7, 4, 5, 6, 3, 1], np.uint8)[labels.array])
    plain, other = straighten(image, labels), straighten(image, swapped)
    np.testing.assert_allclose(plain[0].image, other[0].image, atol=1e-3)


def test_an_image_without_labels_gives_no_straightened_views():
    image, labels = tube(0.0)
    assert straighten(image, labels.with_array(np.zeros_like(labels.array))) is None


def test_samples_outside_the_image_are_dark():
    image, labels = tube(0.0)
    near = tuple(slice(a, b) for a, b in ((5, 145), (50, 70), (30, 50)))
    cut = Geometry((140, 20, 20), SPACING, (0.0, 0.0, 0.0), np.eye(3))
    side, _ = straighten(Volume(image.array[near] + 50, cut), Volume(labels.array[near], cut))
    assert side.image[:, 0].max() == pytest.approx(50)
    assert side.image[:, -1].max() == pytest.approx(50)
