"""Detection of padding and truncation on synthetic volumes with a known field of view."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from spinemamba.imaging.intensity import normalise
from spinemamba.imaging.truncation import (
    FieldOfView,
    crop_to_data,
    cut_sides,
    cut_sides_of_array,
    data_box,
    reaches_end,
    without_padding,
)
from spinemamba.imaging.volume import Geometry, Volume

WHOLE = (slice(0, 40), slice(0, 48), slice(0, 44))


def grid(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Geometry:
    return Geometry(shape, spacing_mm, (3.0, -20.0, 100.0), np.eye(3))


def tissue(seed: int = 1) -> Volume:
    """Noisy soft tissue in an array of 40 x 48 x 44 voxels."""
    noise = np.random.default_rng(seed).normal(40, 30, (40, 48, 44))
    return Volume(noise.astype(np.int16), grid(noise.shape, (1.0, 1.0, 1.0)))


def masked(inside: np.ndarray, value: int) -> Volume:
    return tissue().with_array(np.where(inside, tissue().array.astype(np.int32), value))


def index() -> np.ndarray:
    return np.moveaxis(np.indices((40, 48, 44)), 0, -1) - np.array([19.5, 23.5, 21.5])


def circle() -> np.ndarray:
    return np.hypot(index()[..., 1], index()[..., 2]) < 21


def turned_box(angle_deg: float = 20.0, axes: tuple[int, int] = (0, 1)) -> np.ndarray:
    a, b = (index()[..., k] for k in axes)
    turn = np.radians(angle_deg)
    along = np.abs(a * np.cos(turn) + b * np.sin(turn)) < 16
    return along & (np.abs(b * np.cos(turn) - a * np.sin(turn)) < 18)


def block(low: tuple[int, int, int], high: tuple[int, int, int]) -> np.ndarray:
    return np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1).reshape(-1, 3)


@pytest.mark.parametrize("value", [-3024, -1024, 0, 3071, 63536])
@pytest.mark.parametrize(
    "sides",
    [
        ((10, 10), (10, 10), (10, 10)),
        ((0, 1), (0, 0), (0, 0)),
        ((7, 0), (0, 3), (2, 2)),
    ],
)
def test_constant_layers_are_padding(value: int, sides: tuple[tuple[int, int], ...]):
    bare = tissue()
    padded = np.pad(bare.array.astype(np.int32), sides, constant_values=value)
    box = data_box(padded)
    assert box == tuple(slice(a, a + n) for (a, _), n in zip(sides, bare.array.shape, strict=True))
    np.testing.assert_array_equal(padded[box], bare.array)


def test_nested_padding_of_several_values_is_found():
    array = tissue().array
    for axis, value in enumerate((0, -1024, -3024, 7)):
        sides = [(0, 0)] * 3
        sides[axis % 3] = (3, 4)
        array = np.pad(array, sides, constant_values=value)
    box = data_box(array)
    np.testing.assert_array_equal(array[box], tissue().array)


def test_a_layer_interpolated_with_padding_is_padding():
    array = np.pad(tissue().array, 4, constant_values=-1024).astype(float)
    mixed = ndimage.shift(array, (0.4, 0.0, 0.0), order=1, mode="nearest").round().astype(np.int16)
    assert data_box(mixed)[0] == slice(5, 44)


def air() -> np.ndarray:
    """A round patient in air that was clipped to one value."""
    return np.hypot(index()[..., 1] / 1.2, index()[..., 2]) < 15


@pytest.mark.parametrize("value", [-1024, -1000, 0])
def test_clipped_air_around_a_patient_is_not_padding(value: int):
    assert data_box(masked(air(), value).array) == WHOLE


def test_an_image_of_bone_only_has_no_convex_field_of_view():
    bone = (np.random.default_rng(2).random((40, 48, 44)) > 0.5) & (
        np.hypot(index()[..., 1], index()[..., 2] / 2) < 8
    )
    image = masked(bone & (index()[..., 0] % 9 > 3), 0)
    view = FieldOfView.of_image(image)
    assert view.hull is None


def test_a_constant_or_binary_image_has_no_padding():
    array = np.zeros((20, 20, 20), np.int16)
    array[5:] = 300
    assert data_box(array) == (slice(0, 20),) * 3
    assert without_padding(tissue().with_array(np.zeros_like(tissue().array))).array.shape == (
        40,
        48,
        44,
    )


@pytest.mark.parametrize("value", [-1024, 0, 3071])
@pytest.mark.parametrize(
    "inside",
    [circle(), turned_box(), turned_box(-12, (1, 2)), turned_box(35, (0, 2))],
    ids=["circle", "box at 20 degrees", "box at -12 degrees", "box at 35 degrees"],
)
def test_outside_a_convex_field_of_view_is_padding(inside: np.ndarray, value: int):
    image = masked(inside, value)
    view = FieldOfView.of_image(image)
    everywhere = np.argwhere(np.ones_like(inside))
    outside = view.outside(everywhere).reshape(inside.shape)
    assert not (outside & inside & (image.array != value)).any()
    assert (outside | inside).mean() > 0.995


@pytest.mark.parametrize("value", [-1024, 0])
def test_bone_is_truncated_only_where_the_field_of_view_ends(value: int):
    image = masked(turned_box(), value)
    view = FieldOfView.of_image(image)
    labels = np.zeros(image.array.shape, bool)
    labels[:, 18:30, 16:28] = True
    cut = np.argwhere(labels & turned_box())
    assert {"inferior", "superior"} <= set(cut_sides(cut, image.geometry, view))
    whole = block((15, 18, 16), (25, 30, 28))
    assert cut_sides(whole, image.geometry, view) == ()
    assert reaches_end(cut, image.geometry, view)
    assert not reaches_end(whole, image.geometry, view)


def test_clipped_air_truncates_nothing():
    for value in (-1024, 0):
        image = masked(air(), value)
        # Three voxels of skin lie over it.
        inner = block((10, 24, 18), (20, 38, 26))
        assert cut_sides(inner, image.geometry, FieldOfView.of_image(image)) == ()


def test_bone_at_missing_slices_is_truncated_there():
    array = tissue().array.copy()
    array[20:24] = -1024
    view = FieldOfView.of_image(tissue().with_array(array))
    assert np.flatnonzero(view.gaps[0]).tolist() == [20, 21, 22, 23]
    above, below = block((24, 15, 15), (34, 30, 30)), block((8, 15, 15), (20, 30, 30))
    assert cut_sides(above, view.geometry, view) == ("inferior",)
    assert cut_sides(below, view.geometry, view) == ("superior",)
    both = cut_sides(np.concatenate([above, below]), view.geometry, view)
    assert both == ("inferior", "superior")
    assert cut_sides(block((26, 15, 15), (34, 30, 30)), view.geometry, view) == ()


def test_the_sides_that_truncate_an_object_are_named():
    image = grid((20, 20, 20), (1.0, 1.0, 1.0))
    view = FieldOfView.of_grid(image)
    assert cut_sides(block((0, 5, 5), (9, 20, 15)), image, view) == ("inferior", "posterior")
    assert cut_sides(block((1, 5, 5), (9, 15, 15)), image, view) == ("inferior",)  # 1 mm short
    assert cut_sides(block((2, 5, 5), (9, 15, 15)), image, view) == ()
    assert cut_sides(block((5, 5, 5), (10, 10, 10)), image, view) == ()
    assert cut_sides(np.zeros((0, 3), int), image, view) == ()


def test_a_tip_touching_the_image_border_is_not_truncated():
    image = grid((20, 20, 20), (1.0, 1.0, 1.0))
    tip = block((8, 17, 9), (11, 20, 12))
    object_ = np.concatenate([block((5, 5, 5), (15, 17, 15)), tip])
    assert cut_sides(object_, image, FieldOfView.of_grid(image)) == ()


def test_an_object_within_a_voxel_of_the_border_reaches_it():
    view = FieldOfView.of_grid(grid((20, 20, 20), (3.0, 1.0, 1.0)))
    fine = grid((40, 20, 20), (1.5, 1.0, 1.0))
    for first, stop, reached in ((0, 4, True), (30, 37, True), (3, 36, False)):
        assert reaches_end(block((first, 5, 5), (stop, 9, 9)), fine, view) == reached


@pytest.mark.parametrize("seed", range(8))
def test_truncation_by_mask_and_by_voxels_agree(seed: int):
    rng = np.random.default_rng(seed)
    spacing = tuple(rng.uniform(0.4, 3.0, 3).tolist())
    low, high = rng.integers(0, 4, 3), 20 - rng.integers(0, 4, 3)
    voxels, image = block(tuple(low), tuple(high)), grid((20, 20, 20), spacing)
    mask = np.ones(high - low, bool)

    def place(xyz: np.ndarray) -> np.ndarray:
        return image.to_lps_mm(np.asarray(xyz)[..., ::-1])

    extent = ((0, 19),) * 3
    assert cut_sides_of_array(mask, tuple(low[::-1]), extent, place) == cut_sides(
        voxels, image, FieldOfView.of_grid(image)
    )


@pytest.mark.parametrize("outside", [circle, turned_box])
def test_bright_padding_is_darkened_and_dark_padding_is_kept(
    outside: Callable[[], np.ndarray],
):
    inside, seen = outside(), []
    for value, dark in ((-2048, True), (63536, False), (3071, False), (0, False)):
        image = masked(inside, value)
        data, _, _ = crop_to_data(image)
        sure = inside & (image.array != value)  # noise may have the value, too
        np.testing.assert_array_equal(data.array[sure], image.array[sure])
        assert (data.array is image.array) == dark
        seen.append(normalise(data.array, "ct"))
        assert (seen[0] != seen[-1]).mean() < 0.001
