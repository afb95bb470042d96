from __future__ import annotations

import numpy as np

from spinemamba.intensity import guess_modality, normalise


def test_the_ct_window_maps_to_minus_one_and_one_and_clips():
    hu = np.array([[[-2000, -250, 500, 1250, 3000]]], np.int16)
    np.testing.assert_allclose(normalise(hu, "ct")[0, 0], [-1, -1, 0, 1, 1], atol=1e-6)


def test_mr_is_scaled_by_its_own_percentiles_whatever_the_scanner_units():
    values = np.linspace(0, 100, 20 * 20 * 20).reshape(20, 20, 20)
    np.testing.assert_allclose(normalise(values, "mr"), normalise(values * 37, "mr"), atol=1e-5)
    assert normalise(values, "mr").min() == -1


def test_a_constant_mr_gives_finite_numbers():
    assert np.isfinite(normalise(np.full((4, 4, 4), 7.0), "mr")).all()


def test_fat_in_a_tight_crop_is_enough_to_tell_ct():
    rng = np.random.default_rng(0)
    crop = rng.normal(60, 20, (16, 32, 32))
    crop[:, :8] = rng.normal(-100, 10, (16, 8, 32))
    assert guess_modality(crop) == "ct"
    assert guess_modality(np.abs(crop)) == "mr"
