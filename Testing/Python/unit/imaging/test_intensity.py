"""Normalisation of intensities, and recognition of Hounsfield units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spinemamba.common.errors import UserError
from spinemamba.imaging.intensity import (
    choose_modality,
    guess_modality,
    hounsfield_problem,
    normalise,
)
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.volume import Geometry, Volume


def test_the_ct_window_maps_to_minus_one_and_one_and_clips():
    hu = np.array([[[-2000, -250, 500, 1250, 3000]]], np.int16)
    np.testing.assert_allclose(normalise(hu, "ct")[0, 0], [-1, -1, 0, 1, 1], atol=1e-6)


def test_mr_is_scaled_by_its_percentiles_in_any_units():
    values = np.linspace(0, 100, 20 * 20 * 20).reshape(20, 20, 20)
    np.testing.assert_allclose(normalise(values, "mr"), normalise(values * 37, "mr"), atol=1e-5)
    assert normalise(values, "mr").min() == -1


def test_a_constant_mr_gives_finite_numbers():
    assert np.isfinite(normalise(np.full((4, 4, 4), 7.0), "mr")).all()


def test_fat_in_a_tight_crop_is_enough_to_recognise_ct():
    rng = np.random.default_rng(0)
    crop = rng.normal(60, 20, (16, 32, 32))
    crop[:, :8] = rng.normal(-100, 10, (16, 8, 32))
    assert guess_modality(crop) == "ct"
    assert guess_modality(np.abs(crop)) == "mr"


REAL_CT = (
    *(f"verse/verse{name}_ct.nii.gz" for name in ("005", "006", "008", "012")),
    "lidc/lidc0001_ct.nii.gz",
    "totalsegmentator/s0328_bone_ct.nii.gz",
    "totalsegmentator/ts_aorta_ct.nii.gz",
    "totalsegmentator/ts_example_ct.nii.gz",
    "tptbox/ct.nii.gz",
    "dicom/lidc0314",
    "dicom/ts_abdomen",
)
REAL_MR = ("tptbox/mr_t2w.nii.gz", "mr/sct/sct_t2_lumbar_T2_img.nii.gz")


def body(seed: int = 0, noise: float = 15.0) -> np.ndarray:
    """Return a tight crop: fat, soft tissue and a vertebra, in Hounsfield units."""
    rng = np.random.default_rng(seed)
    hu = np.full((24, 40, 40), 45.0)
    hu[:, :8] = -100
    hu[4:20, 14:30, 12:28] = 250
    hu[4:20, 14:16, 12:28] = 700
    return np.round(hu + noise * rng.standard_normal(hu.shape)).astype(np.int16)


def with_air() -> np.ndarray:
    """Return the same patient with air around."""
    return np.pad(body(), ((0, 0), (30, 30), (30, 30)), constant_values=-1000)


def volume(array: np.ndarray, modality: str | None = None) -> Volume:
    grid = Geometry(array.shape, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    return Volume(array, grid, modality)


def scaled(array: np.ndarray, most: float) -> np.ndarray:
    return (array - array.min()) / float(np.ptp(array)) * most


HOUNSFIELD = {
    "as they are": lambda hu: hu,
    "float": lambda hu: hu.astype(np.float32),
    "clipped at -1024": lambda hu: np.maximum(hu, -1024),
    "clipped at -300 and 1300": lambda hu: np.clip(hu, -300, 1300),
    "padded with -1024": lambda hu: np.pad(hu, 20, constant_values=-1024),
    "padded with -3024": lambda hu: np.pad(hu, 20, constant_values=-3024),
    "padded with 0": lambda hu: np.pad(hu, 20),
    "padded with 3071": lambda hu: np.pad(hu, 8, constant_values=3071),
    "with metal": lambda hu: np.where(np.arange(hu.size).reshape(hu.shape) % 300, hu, 30000),
    "masked with 0": lambda hu: np.where(hu < -500, 0, hu),
    "no noise": lambda hu: np.round(hu, -2),
}
NO_HOUNSFIELD = {
    "1024 too much": lambda hu: hu + 1024,
    "1000 too much": lambda hu: hu + 1000,
    "1024 too much, cut at 0": lambda hu: np.maximum(hu + 1024, 0),
    "1024 too much, padded with -1024": lambda hu: np.pad(hu + 1024, 20, constant_values=-1024),
    "1024 too much, padded with 0": lambda hu: np.pad(hu + 1024, 20),
    "1024 too little": lambda hu: hu - 1024,
    "1024 too little, cut at -1024": lambda hu: np.maximum(hu - 1024, -1024),
    "0 to 1": lambda hu: scaled(hu, 1),
    "-1 to 1": lambda hu: scaled(hu, 2) - 1,
    "0 to 255": lambda hu: scaled(hu, 255).astype(np.uint8),
    "-128 to 127": lambda hu: scaled(hu, 255) - 128,
    "0 to 1000": lambda hu: scaled(hu, 1000),
    "0 to 4095": lambda hu: scaled(hu, 4095),
    "0 to 65535": lambda hu: scaled(hu, 65535),
    "a window of 8 bits": lambda hu: np.clip((hu + 160) / 400 * 255, 0, 255),
    "mean 0, deviation 1": lambda hu: (hu - hu.mean()) / hu.std(),
    "kilo-units": lambda hu: hu / 1000,
    "shifted left by 4 bits": lambda hu: (hu.astype(int) + 1024) * 16,
    "wrapped into unsigned": lambda hu: hu.astype(int) % 65536,
}


@pytest.mark.parametrize("make", [body, with_air], ids=["crop", "whole"])
@pytest.mark.parametrize("name", HOUNSFIELD)
def test_hounsfield_units_are_recognised(name: str, make: Callable[[], np.ndarray]):
    assert hounsfield_problem(volume(HOUNSFIELD[name](make()))) is None


@pytest.mark.parametrize("make", [body, with_air], ids=["crop", "whole"])
@pytest.mark.parametrize("name", NO_HOUNSFIELD)
def test_values_that_are_not_hounsfield_units_are_recognised(
    name: str, make: Callable[[], np.ndarray]
):
    image = volume(NO_HOUNSFIELD[name](make()))
    assert "not Hounsfield units" in str(hounsfield_problem(image))
    with pytest.raises(UserError, match="by subtracting 1024"):
        choose_modality(image, "ct")
    warned: list[str] = []
    assert choose_modality(image, "auto", warned.append) == "mr"


def test_real_ct_is_in_hounsfield_units_and_rescaled_ct_is_not(shared_data: Path):
    for name in REAL_CT:
        image = read_volume(shared_data / name)
        assert hounsfield_problem(image) is None, name
        for change in ("1024 too much", "0 to 1", "0 to 255", "0 to 1000"):
            other = image.with_array(NO_HOUNSFIELD[change](image.array.astype(np.float32)))
            assert hounsfield_problem(other), (name, change)
    for name in REAL_MR:
        assert hounsfield_problem(read_volume(shared_data / name)), name


@pytest.mark.parametrize(
    ("array", "said", "wanted", "modality", "words"),
    [
        (body(), None, "auto", "ct", ""),
        (body(), "ct", "auto", "ct", ""),
        (body(), "mr", "auto", "mr", ""),
        (body(), "mr", "ct", "ct", "The modality of the file is MR; it is treated as CT."),
        (body(), "ct", "mr", "mr", "The modality of the file is CT; it is treated as MR."),
        (body() + 1024, "ct", "auto", "mr", "not Hounsfield units"),
        (body() + 1024, None, "auto", "mr", ""),
        (body() - 1024, None, "auto", "mr", "not Hounsfield units"),
        (body() + 1024, "mr", "mr", "mr", ""),
    ],
)
def test_the_modality_of_the_file_counts_and_contradictions_warn(
    array: np.ndarray, said: str | None, wanted: str, modality: str, words: str
):
    warned: list[str] = []
    assert choose_modality(volume(array, said), wanted, warned.append) == modality
    assert words in "".join(warned)
    assert bool(warned) == bool(words)
