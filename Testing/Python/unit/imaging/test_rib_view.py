"""The rib view: ribs lie where they should, at the heights of their vertebrae."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.rib_view import RIB_REACH_MM, rib_view
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.phantom import PhantomOptions, make_phantom

SPACING = (2.0, 2.0, 2.0)
SHAPE = (130, 90, 150)
MIDDLE = (110.0, 148.0)
"""y and x of the spine, mm from the first voxel."""

RIB, AORTA, SOFT, AIR = 700, 500, 40, -1024


@functools.cache
def balls(bend_mm: float = 0.0) -> tuple[Volume, Volume, dict[int, np.ndarray]]:
    """Return image, labels and centres of bodies along an arc, with a pair of rods at each.

    The rods run to both sides, 30 mm behind the bodies and at right angles to the arc; another,
    vertical rod lies 35 mm in front, as the aorta does.
    """
    at = np.moveaxis(np.indices(SHAPE), 0, -1) * np.array(SPACING)
    image, labels = np.full(SHAPE, SOFT, np.int16), np.zeros(SHAPE, np.uint8)
    image[np.hypot(at[..., 1] - MIDDLE[0] + 35, at[..., 2] - MIDDLE[1]) < 8] = AORTA
    centres = {}
    for number in range(1, 7):
        along = (number - 3.5) * -32.0
        angle = along / bend_mm if bend_mm else 0.0
        z = 129 + (bend_mm * np.sin(angle) if bend_mm else along)
        aside = bend_mm * (1 - np.cos(angle)) if bend_mm else 0.0
        centre = np.array([z, MIDDLE[0], MIDDLE[1] + aside])
        centres[number] = centre
        labels[np.linalg.norm(at - centre, axis=-1) < 12] = number
        across = np.array([-np.sin(angle), 0.0, np.cos(angle)])
        away = at - centre - [0.0, 30.0, 0.0]
        sideways = away @ across
        off = np.linalg.norm(away - sideways[..., None] * across, axis=-1)
        image[(off < 4) & (np.abs(sideways) > 25) & (np.abs(sideways) < 90)] = RIB + 10 * number
    geometry = Geometry(SHAPE, SPACING, (0.0, 0.0, 0.0), np.eye(3))
    return Volume(image, geometry), Volume(labels, geometry), centres


@pytest.mark.parametrize("bend_mm", [0.0, 220.0])
def test_each_rib_is_at_the_row_of_its_vertebra(bend_mm: float):
    image, labels, _ = balls(bend_mm)
    ribs = rib_view(image, labels)
    assert ribs.view.image.shape[1] == 2 * RIB_REACH_MM + 1
    for number, (row, column) in ribs.view.bodies.items():
        assert ribs.view.labels[round(row), round(column)] == number
        # At the ends, the line has the direction to the next body, half a step off the arc's.
        end_mm = 60 * 32 / bend_mm / 2 if bend_mm and number in (1, 6) else 0.0
        for aside in (-60, 60):
            first = round(row) - 11
            strip = ribs.view.image[first : round(row) + 12, round(column) + aside]
            # The rods follow the curve as the view does, so that they are straight in it.
            bright = np.flatnonzero(strip > RIB - 100)
            assert first + bright.mean() == pytest.approx(row, abs=2.0 + end_mm)
            assert 4 <= len(bright) <= 11
            assert strip.max() == pytest.approx(RIB + 10 * number, abs=1)


def test_bodies_keep_their_distances_along_the_spine():
    ribs = rib_view(*balls(220.0)[:2])
    rows = [ribs.view.bodies[number][0] for number in range(1, 7)]
    np.testing.assert_allclose(np.diff(rows), -32, atol=2.0)


def test_the_aorta_in_front_of_the_spine_is_not_in_the_slab():
    ribs = rib_view(*balls()[:2])
    assert not ((ribs.view.image > AORTA - 100) & (ribs.view.image < AORTA + 50)).any(axis=1).all()
    row, column = ribs.view.bodies[3]
    assert ribs.view.image[round(row) + 14, round(column)] == SOFT


def test_the_right_side_of_the_patient_is_on_the_left():
    image, labels, _ = balls()
    array = image.array.copy()
    array[:, :, : round(MIDDLE[1] / 2)] = SOFT
    ribs = rib_view(image.with_array(array), labels)
    row, column = ribs.view.bodies[3]
    line = ribs.view.image[round(row)]
    assert line[round(column) + 60] > RIB
    assert line[round(column) - 60] < RIB


def test_the_view_does_not_depend_on_the_orientation_of_the_file():
    image, labels, _ = balls(220.0)
    turned = []
    for volume in (image, labels):
        axes = np.diag([-1.0, -1.0, 1.0])
        origin = tuple((np.array(SHAPE[::-1]) - 1) * 2.0 * [1, 1, 0])
        geometry = replace(volume.geometry, direction_lps=axes, origin_lps_mm=origin)
        turned.append(Volume(volume.array[:, ::-1, ::-1], geometry))
    first, second = rib_view(image, labels), rib_view(*turned)
    np.testing.assert_allclose(first.view.image, second.view.image, atol=1e-3)


def cropped(half_mm: float, padded: bool) -> tuple[Volume, Volume]:
    """Return the spine with data up to a distance beside it, padded or cropped to them."""
    image, labels, _ = balls()
    low, high = (round((MIDDLE[1] + side * half_mm) / 2) for side in (-1, 1))
    if padded:
        array = image.array.copy()
        array[:, :, :low] = array[:, :, high + 1 :] = AIR
        return image.with_array(array), labels
    geometry = Geometry((*SHAPE[:2], high + 1 - low), SPACING, (2.0 * low, 0.0, 0.0), np.eye(3))
    return tuple(Volume(v.array[:, :, low : high + 1], geometry) for v in (image, labels))


@pytest.mark.parametrize("padded", [False, True], ids=["cropped", "padded"])
@pytest.mark.parametrize(("half_mm", "narrow"), [(40, True), (52, True), (66, False), (90, False)])
def test_an_image_that_ends_beside_the_spine_is_narrow(half_mm: float, narrow: bool, padded: bool):
    ribs = rib_view(*cropped(half_mm, padded))
    for right, left in ribs.beside_mm.values():
        assert right == pytest.approx(half_mm, abs=2.0)
        assert left == pytest.approx(half_mm, abs=2.0)
    assert ribs.narrow() == ([1, 2, 3, 4, 5, 6] if narrow else [])


def test_a_label_map_without_vertebrae_gives_no_rib_view():
    image, labels, _ = balls()
    assert rib_view(image, labels.with_array(np.zeros_like(labels.array))) is None


def test_ribs_of_a_body_are_at_thoracic_and_not_at_lumbar_vertebrae():
    options = PhantomOptions(first="T9", last="L3", noise_hu=10.0, scoliosis_deg=20.0)
    phantom = make_phantom(4, options)
    ribs = rib_view(phantom.image, phantom.labels)
    labels = canonical(phantom.labels)[0].array
    for name, has_ribs in {"T9": True, "T10": True, "T11": True, "L2": False, "L3": False}.items():
        value = BY_NAME[name].value
        row, column = ribs.view.bodies[value]
        places = np.argwhere(labels == value)[:, 0] * phantom.labels.spacing_mm[0]
        assert 20 < np.ptp(places) < 80
        for side in (-1, 1):
            # Beyond the transverse processes, from the disc above to that below.
            beside = round(column) + side * 60
            part = ribs.view.image[round(row) - 22 : round(row) + 12, beside - 4 : beside + 5]
            assert (part.max() > 250) == has_ribs, (name, side, part.max())
    assert ribs.narrow() == []
