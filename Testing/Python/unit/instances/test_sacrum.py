"""The border of the sacrum: bodies are decided as wholes, not voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
from perfect_predictions import perfect_predictions
from scipy import ndimage

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.imaging.masks import dice
from spinemamba.imaging.volume import Volume
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import Instances, find_instances
from spinemamba.instances.sacrum import (
    SacrumProbabilities,
    count_sacral_cores,
    join_first_sacral_body,
)
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.data.dataset import body_cores

L5, SACRUM = BY_NAME["L5"].value, BY_NAME["Sacrum"].value
SPACING_MM = (2.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def spine() -> Volume:
    options = PhantomOptions(first="L2", last="Sacrum", spacing_mm=SPACING_MM, tight=True)
    return make_phantom(5, options).labels


def like_the_sacrum(predictions: VoxelPredictions, where: np.ndarray, share: float) -> None:
    """Make a share of the voxels more like the sacrum than like L5, in place."""
    chosen = where & (np.random.default_rng(0).random(where.shape) < share)
    for name, value in (("Sacrum", 0.5), ("L5", 0.3), ("L4", 0.1)):
        predictions.levels[NETWORK_LEVELS.index(name)][chosen] = value


def dice_of_last(instances: Instances, labels: np.ndarray) -> tuple[float, float]:
    """Return the Dice of the last two instances with L5 and the sacrum."""
    count = len(instances.items)
    found = instances.labels
    return dice(found == count - 1, labels == L5), dice(found == count, labels == SACRUM)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_l5_stays_whole_if_single_voxels_are_like_the_sacrum(spine: Volume, share: float):
    predictions = perfect_predictions(spine)
    is_l5 = spine.array == L5
    outside_mm = ndimage.distance_transform_edt(~(is_l5 & (predictions.core > 0)), SPACING_MM)
    like_the_sacrum(predictions, is_l5 & (outside_mm < 13), share)
    instances = find_instances(predictions)
    assert [item.is_sacrum for item in instances.items] == [False] * 4 + [True]
    assert min(dice_of_last(instances, spine.array)) > 0.93


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_first_sacral_body_with_a_core_belongs_to_the_sacrum(spine: Volume, share: float):
    predictions = perfect_predictions(spine)
    sacrum = spine.array == SACRUM
    # The body of S1: the front of the uppermost 24 mm in the midplane.
    z, _, x = np.argwhere(sacrum).max(axis=0)[0], None, int(np.argwhere(sacrum)[:, 2].mean())
    top = np.zeros_like(sacrum)
    top[z - 16 : z - 4, :, x - 7 : x + 8] = True
    first = np.argwhere(sacrum & top)[:, 1].min()
    top[:, first + 14 :] = False
    predictions.core[sacrum & top] = 1
    predictions.levels[NETWORK_LEVELS.index("L5")][sacrum] = 0.3
    predictions.levels[NETWORK_LEVELS.index("Sacrum")][sacrum] = 0.2
    like_the_sacrum(predictions, sacrum, share)
    instances = find_instances(predictions)
    assert [item.is_sacrum for item in instances.items] == [False] * 4 + [True]
    assert min(dice_of_last(instances, spine.array)) > 0.9


@pytest.mark.parametrize(
    ("votes", "sacral"),
    [
        ([(0.0, 0.2), (0.1, 0.4), (0.28, 0.43)], 0),
        ([(0.0, 0.2), (0.1, 0.4), (0.6, 0.3)], 1),
        ([(0.1, 0.4), (0.6, 0.3), (0.6, 0.3)], 2),
        # A core between sacral ones is not outvoted by the last alone, nor decides alone.
        ([(0.1, 0.4), (0.6, 0.1), (0.4, 0.5), (0.6, 0.1)], 3),
        ([(0.1, 0.4), (0.4, 0.3), (0.1, 0.6), (0.4, 0.3)], 1),
        # Both are unlikely far from the sacrum.
        ([(0.1, 0.4), (0.02, 0.01)], 0),
        ([], 0),
    ],
)
def test_cores_vote_for_the_sacrum_as_the_end_of_the_chain(votes, sacral: int):
    cores = np.repeat(np.arange(len(votes) + 1), 4).reshape(-1, 2, 2)
    share = np.array([(0.0, 0.0), *votes])[cores]
    levels = SacrumProbabilities(share[..., 0], share[..., 1], SPACING_MM)
    assert count_sacral_cores(cores, levels) == sacral


@pytest.mark.parametrize(
    ("size", "levels", "joined"),
    [
        (4, [22.9, 23.4], True),
        (5, [22.9, 23.4], False),
        (4, [21.9, 22.6], False),
        (4, [22.6, 22.9], False),
    ],
)
def test_small_last_instance_is_joined_if_the_chain_is_at_s1(size, levels, joined: bool):
    # 10 voxels of the first, 4 or 5 of the second, 6 of the sacrum; 0.45 of 10 is 4.5.
    labels = np.repeat([1, 2, 3], [10, size, 6])
    join_first_sacral_body(labels, 2, np.array(levels))
    assert (2 in labels) != joined
    assert (labels == 3).sum() == (6 + size if joined else 6)


def test_cores_of_the_phantom_are_not_in_the_sacrum(spine: Volume):
    assert not (body_cores(spine)[spine.array == SACRUM] > 0).any()
