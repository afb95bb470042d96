"""Grids match within a fraction of a voxel, and differences are named."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.common.errors import UserError
from spinemamba.evaluation.pair import pair_labels
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.measure.spine import measure

GRID = Geometry((9, 10, 11), (2.5, 0.75, 1.125), (-12.5, 3.25, 70.0), np.eye(3))
VALUES = np.random.default_rng(0).integers(-900, 900, GRID.shape).astype(np.int16)


def test_grids_match_within_a_fraction_of_a_voxel():
    def moved(**fields: object) -> Geometry:
        return Geometry(**{**vars(GRID), **fields})

    near = moved(origin_lps_mm=(-12.502, 3.25, 70.0))
    assert GRID.matches(near)
    assert GRID.matches(moved(spacing_mm=(2.5, 0.7501, 1.125)))
    assert Volume(VALUES, near).on(GRID).geometry is GRID
    for other, says in (
        (moved(shape=(9, 10, 12)), "11 x 10 x 9 and 12 x 10 x 9 voxels"),
        (
            moved(spacing_mm=(2.5, 0.76, 1.125)),
            "voxels of 1.125 x 0.75 x 2.5 and 1.125 x 0.76 x 2.5 mm, so that voxels lie up to "
            "0.09 mm apart",
        ),
        (
            moved(spacing_mm=(2.5, 0.75, 1.1312499)),
            "voxels of 1.125 x 0.75 x 2.5 and 1.131 x 0.75 x 2.5 mm, so that voxels lie up to "
            "0.062 mm apart",
        ),
        (
            moved(origin_lps_mm=(-12.5, 3.75, 70.0)),
            "first voxels at -12.5, 3.25, 70 and at -12.5, 3.75, 70 mm (LPS), so that voxels lie "
            "up to 0.5 mm apart",
        ),
        (
            moved(origin_lps_mm=(-12.5, 3.25, 70.125000001)),
            "first voxels at -12.5, 3.25, 70 and at -12.5, 3.25, 70.13 mm (LPS), so that voxels "
            "lie up to 0.13 mm apart",
        ),
        (
            moved(direction_lps=np.diag([1.0, -1.0, -1.0])),
            "axes rotated by 1.8e+02 degrees, so that voxels lie up to 42 mm apart",
        ),
    ):
        assert GRID.difference(other) == says
        assert not GRID.matches(other)


def test_a_printed_difference_never_shows_equal_numbers():
    far = Geometry(GRID.shape, GRID.spacing_mm, (1e6, 0.0, 0.0), np.eye(3))
    near = Geometry(GRID.shape, GRID.spacing_mm, (1e6 + 0.2, 0.0, 0.0), np.eye(3))
    says = far.difference(near)
    assert "1000000, 0, 0 and at 1000000.2, 0, 0 mm" in says


def test_grids_within_rounding_are_compared_and_others_refused():
    labels = Volume(np.abs(VALUES % 2 * 20).astype(np.uint8), GRID)

    def moved(mm: float) -> Volume:
        place = (GRID.origin_lps_mm[0] + mm, *GRID.origin_lps_mm[1:])
        return Volume(labels.array, Geometry(GRID.shape, GRID.spacing_mm, place, np.eye(3)))

    pair = pair_labels(moved(0.002), labels)
    assert np.array_equal(pair.predicted.array, pair.truth.array)
    with pytest.raises(UserError, match=r"grids differ: .* up to 0\.5 mm apart\.") as caught:
        pair_labels(moved(0.5), labels)
    assert caught.value.message.count("-12.5,") == 1
    image = moved(0.5).with_array(VALUES)
    with pytest.raises(UserError, match=r"different grids: .* up to 0\.5 mm apart"):
        measure(labels, image, "ct")
