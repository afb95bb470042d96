"""Levels and instances are invariant to mirroring, shifts by a voxel, and cropping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spinemamba.anatomy.labels import NETWORK_LEVELS, channel_of_value
from spinemamba.imaging.masks import dice
from spinemamba.imaging.resample import crop_geometry
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import find_instances
from spinemamba.levels.solve import assign_levels
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.data.dataset import body_cores

NAMES = ("T12", "L1", "L2", "L3", "L4", "L5", "Sacrum")
NECK = ("C1", "C2", "C3", "C4", "C5", "C6", "C7")
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def predictions() -> VoxelPredictions:
    return blurred_predictions(NAMES)


@pytest.fixture(scope="module")
def neck() -> VoxelPredictions:
    return blurred_predictions(NECK)


def blurred_predictions(levels_in_view: tuple[str, ...]) -> VoxelPredictions:
    """Return perfect predictions of a phantom; levels are blurred over two neighbours."""
    spacing = (3.0, 3.0, 3.0)
    options = PhantomOptions(
        first=levels_in_view[0], last=levels_in_view[-1], spacing_mm=spacing, tight=True
    )
    labels = make_phantom(3, options).labels
    lookup = np.zeros(256, int)
    for value, channel in channel_of_value().items():
        lookup[value] = channel
    index = lookup[labels.array] - 1
    levels = np.zeros((len(NETWORK_LEVELS), *index.shape), np.float16)
    for k in range(len(NETWORK_LEVELS)):
        levels[k] = np.exp(-0.5 * ((k - index) / 0.7) ** 2)
    levels /= levels.sum(axis=0)
    bone, core = (labels.array > 0).astype(np.float32), body_cores(labels).astype(np.float32)
    grid = labels.geometry
    return VoxelPredictions(bone, core, levels, grid, levels, grid)


def cropped(predictions: VoxelPredictions, box: tuple[slice, slice, slice]) -> VoxelPredictions:
    grid = crop_geometry(predictions.geometry, box)
    arrays = {k: getattr(predictions, k)[box] for k in ("bone", "core")}
    arrays |= {k: getattr(predictions, k)[(slice(None), *box)] for k in ("levels", "coarse_levels")}
    return replace(predictions, **arrays, geometry=grid, image_geometry=grid)


def names(predictions: VoxelPredictions) -> tuple[str | None, ...]:
    return assign_levels(find_instances(predictions).items).best[0].names


def test_mirrored_patient_has_the_same_levels(predictions: VoxelPredictions):
    arrays = {k: getattr(predictions, k)[..., ::-1] for k in ("bone", "core", "levels")}
    mirrored = replace(predictions, **arrays, coarse_levels=arrays["levels"])
    assert names(predictions) == names(mirrored) == NAMES
    flipped, original = (
        find_instances(mirrored).labels[..., ::-1],
        find_instances(predictions).labels,
    )
    assert all(dice(flipped == k, original == k) >= 0.98 for k in range(1, len(NAMES) + 1))


@SLOW
def test_shift_by_a_voxel_shifts_labels_by_a_voxel(predictions: VoxelPredictions):
    low = cropped(predictions, tuple(slice(0, n - 1) for n in predictions.bone.shape))
    high = cropped(predictions, tuple(slice(1, n) for n in predictions.bone.shape))
    assert names(low) == names(high) == NAMES
    one, other = find_instances(low).labels, find_instances(high).labels
    inside = (slice(1, None),) * 3
    back = (slice(0, -1),) * 3
    for k in range(1, len(NAMES) + 1):
        assert dice(one[inside] == k, other[back] == k) >= 0.98


@pytest.mark.parametrize("share", [*(pytest.param(s, marks=SLOW) for s in (0.1, 0.25)), 0.4])
def test_cropping_the_top_does_not_change_levels_above_a_sacrum(
    predictions: VoxelPredictions, share: float
):
    depth, rows, columns = predictions.bone.shape
    remaining = slice(0, round((1 - share) * depth))
    result = names(cropped(predictions, (remaining, slice(0, rows), slice(0, columns))))
    assert result == NAMES[-len(result) :]
    assert len(result) >= 2


@pytest.mark.parametrize("share", [*(pytest.param(s, marks=SLOW) for s in (0.0, 0.2, 0.4)), 0.6])
def test_cropping_the_bottom_does_not_change_levels_below_c1(neck: VoxelPredictions, share: float):
    depth, rows, columns = neck.bone.shape
    remaining = slice(round(share * depth), depth)
    result = names(cropped(neck, (remaining, slice(0, rows), slice(0, columns))))
    assert result == NECK[: len(result)]
    assert len(result) >= 2
