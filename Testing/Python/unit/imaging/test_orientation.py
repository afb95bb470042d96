"""Reorientation to canonical axes and back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from spinemamba.imaging.orientation import canonical, reorient_back
from spinemamba.imaging.volume import Geometry, Volume

ORIENTATIONS = [
    np.eye(3)[list(order)] * np.array(signs)[:, None]
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]
"""All 48 orientations along the axes; the mirrored ones are left-handed grids."""


def rotation(angles_deg: tuple[float, float, float]) -> np.ndarray:
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(angles_deg)):
        a, b = [k for k in range(3) if k != axis]
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    return turn


def volume(direction: np.ndarray) -> Volume:
    array = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
    return Volume(array, Geometry((3, 4, 5), (2.5, 0.7, 1.1), (10.0, -20.0, 33.0), direction))


def position_of(value: int, image: Volume) -> np.ndarray:
    return image.geometry.to_lps_mm(np.argwhere(image.array == value)[0])


@pytest.mark.parametrize("direction", ORIENTATIONS, ids=range(48))
def test_reorienting_and_restoring_is_exact_for_every_orientation(direction):
    image = volume(direction)
    upright, turned = canonical(image)
    np.testing.assert_allclose(upright.geometry.direction_lps, np.eye(3), atol=1e-12)
    back = reorient_back(upright.array, turned)
    assert back.array.tobytes() == image.array.tobytes()
    assert back.geometry == image.geometry


@pytest.mark.parametrize("angles_deg", [(0, 0, 0), (20, 0, 0), (10, -25, 30), (-40, 5, 12)])
@pytest.mark.parametrize("direction", ORIENTATIONS[::5], ids=range(10))
def test_reoriented_voxels_keep_their_position_on_oblique_grids(direction, angles_deg):
    image = volume(rotation(angles_deg) @ direction)
    upright, _ = canonical(image)
    for value in (0, 1, 17, 59):
        np.testing.assert_allclose(
            position_of(value, upright), position_of(value, image), atol=1e-9
        )
    main = np.diag(upright.geometry.direction_lps)
    assert (main > 0.5).all()


def test_positions_and_indices_are_inverse():
    image = volume(rotation((10, 20, 30)))
    index = np.array([[0.5, 1.0, 2.25], [2, 3, 4]])
    back = image.geometry.to_index_zyx(image.geometry.to_lps_mm(index))
    np.testing.assert_allclose(back, index, atol=1e-9)
