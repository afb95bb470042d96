"""Subdivision of thick slices."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.imaging.fine_slices import with_fine_slices
from spinemamba.imaging.volume import Geometry, Volume

TURNED = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

STEPS = {
    "fine enough": ((1.5, 1.0, 0.7), (1, 1, 1)),
    "thick axial slices": ((4.0, 1.0, 1.0), (3, 1, 1)),
    "thick sagittal slices": ((1.0, 1.0, 3.0), (1, 1, 3)),
    "an even number is rounded up to an odd one": ((5.5, 1.0, 1.0), (5, 1, 1)),
    "large voxels": ((3.0, 3.0, 3.0), (3, 3, 3)),
}


def ramp(spacing_mm: tuple[float, float, float], dtype: type = np.int16) -> Volume:
    """Return an image whose values are a linear function of the position in the patient."""
    geometry = Geometry((6, 7, 8), spacing_mm, (5.0, -3.0, 20.0), TURNED)
    return Volume(values_at(geometry).astype(dtype), geometry)


def values_at(geometry: Geometry) -> np.ndarray:
    places = geometry.to_lps_mm(np.argwhere(np.ones(geometry.shape, bool)))
    return np.rint(places @ [60, 120, 180]).reshape(geometry.shape)


@pytest.mark.parametrize("case", STEPS)
def test_slices_are_subdivided_in_place(case: str):
    spacing_mm, counts = STEPS[case]
    image = ramp(spacing_mm)
    fine = with_fine_slices(image)
    assert fine.array.shape == tuple(n * c for n, c in zip(image.array.shape, counts, strict=True))
    assert fine.array.dtype == image.array.dtype
    assert max(fine.spacing_mm) <= 1.5
    kept = fine.array[tuple(slice(c // 2, None, c) for c in counts)]
    np.testing.assert_array_equal(kept, image.array)
    inner = tuple(slice(c, n * c - c) for n, c in zip(image.array.shape, counts, strict=True))
    np.testing.assert_allclose(fine.array[inner], values_at(fine.geometry)[inner], atol=1)


def test_padding_is_not_blended_with_data():
    image = ramp((4.0, 1.0, 1.0))
    image.array[:2] = image.array[5] = -2000
    fine = with_fine_slices(image).array
    flat = [bool((part == -2000).all()) for part in fine]
    assert flat == [True] * 6 + [False] * 9 + [True] * 3
    np.testing.assert_array_equal(fine[6], image.array[2])
