"""Normalisation of MR by the local mean."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.imaging.intensity import LOCAL_MEAN, normalise
from spinemamba.imaging.local_mean import divide_by_local_mean, normalise_volume
from spinemamba.imaging.volume import Geometry, Volume


def stack(array: np.ndarray) -> Volume:
    """Return an MR of 4 mm sagittal slices, 1 mm in plane."""
    geometry = Geometry(array.shape, (1.0, 1.0, 4.0), (0.0, 0.0, 0.0), np.eye(3))
    return Volume(array, geometry, "mr")


@pytest.fixture
def stripes() -> np.ndarray:
    """Return vertebrae and discs as dark and bright stripes, (z, y, x)."""
    rows = np.where(np.arange(240) % 34 < 26, 100.0, 40.0)
    return np.broadcast_to(rows[:, None, None], (240, 180, 12)).copy()


def test_a_surface_coil_does_not_change_the_level_of_vertebrae(stripes):
    coil = np.exp(-np.arange(180)[::-1] / 90)[None, :, None]
    plain, dimmed = (divide_by_local_mean(stack(image)) for image in (stripes, stripes * coil))
    inside = (slice(40, -40), slice(40, -40))
    change = np.abs(plain - dimmed)[inside].mean()
    by_percentiles = np.abs(normalise(stripes, "mr") - normalise(stripes * coil, "mr"))[inside]
    assert change < 0.2 * by_percentiles.mean()


def test_the_unit_of_the_signal_does_not_matter(stripes):
    one, other = divide_by_local_mean(stack(stripes)), divide_by_local_mean(stack(stripes * 37))
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_image_gives_finite_numbers(value):
    assert np.isfinite(divide_by_local_mean(stack(np.full((20, 20, 4), value)))).all()


def test_the_model_card_decides_how_an_mr_is_normalised(stripes):
    volume = stack(stripes)
    local = normalise_volume(volume, "mr", dict(LOCAL_MEAN)).array
    np.testing.assert_array_equal(local, divide_by_local_mean(volume))
    np.testing.assert_array_equal(
        normalise_volume(volume, "mr", {"mr_percentiles": (1.0, 99.0)}).array,
        normalise(stripes, "mr"),
    )
    np.testing.assert_array_equal(
        normalise_volume(volume, "ct", dict(LOCAL_MEAN)).array, normalise(stripes, "ct")
    )
