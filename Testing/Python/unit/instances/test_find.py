"""Instances from voxel predictions, with perfect and degraded networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from label_maps import cropped_to_labels
from perfect_predictions import perfect_predictions
from public_cases import public_cases

from spinemamba.anatomy.labels import BY_NAME, BY_VALUE, NETWORK_LEVELS
from spinemamba.imaging.masks import dice
from spinemamba.imaging.resample import crop_geometry
from spinemamba.imaging.volume import Volume
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import find_instances
from spinemamba.instances.to_input_grid import labels_on_input_grid
from spinemamba.levels.solve import assign_levels
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.data.dataset import body_cores


@pytest.fixture(scope="module")
def spine() -> Volume:
    options = PhantomOptions(first="T11", last="L4", spacing_mm=(2.0, 2.0, 2.0), tight=True)
    return make_phantom(5, options).labels


def test_perfect_predictions_give_the_true_labels_and_levels(spine: Volume):
    predictions = perfect_predictions(spine)
    instances = find_instances(predictions)
    solution = assign_levels(instances.items)
    assert solution.best[0].names == ("T11", "T12", "L1", "L2", "L3", "L4")
    values = {k: BY_NAME[n].value for k, n in enumerate(solution.best[0].names, start=1)}
    result = labels_on_input_grid(instances, values, predictions, lambda stage, fraction: None)
    scores = [dice(result == value, spine.array == value) for value in values.values()]
    assert min(scores) > 0.95
    assert dice(result > 0, spine.array > 0) > 0.99


def test_volumes_and_centroids_are_those_of_the_vertebrae(spine: Volume):
    for item in find_instances(perfect_predictions(spine)).items:
        mask = spine.array == 17 + item.id  # T11 is 18
        assert item.volume_ml == pytest.approx(mask.sum() * 8 / 1000, rel=0.08)
        centre = spine.geometry.to_lps_mm(np.argwhere(mask).mean(axis=0))
        np.testing.assert_allclose(item.centroid_lps_mm, centre, atol=1.5)
        assert item.cut_sides == ()


def test_improbable_sacrum_is_ignored_even_if_more_likely_than_l5(spine: Volume):
    predictions = perfect_predictions(spine)
    place = NETWORK_LEVELS.index("Sacrum")
    predictions.levels[place][spine.array == 18] = 0.01  # L5 has 0.001 at T11
    assert not any(item.is_sacrum for item in find_instances(predictions).items)


def test_no_core_gives_no_instance(spine: Volume):
    predictions = perfect_predictions(spine)
    predictions.core[:] = 0
    instances = find_instances(predictions)
    assert instances.items == ()
    assert assign_levels(instances.items).best == ()


@pytest.mark.parametrize(("certainty", "separate"), [(1.0, True), (0.9, False)])
def test_truncated_core_is_an_instance_if_it_is_certain(
    spine: Volume, certainty: float, separate: bool
):
    body = (body_cores(spine) > 0) & (spine.array == BY_NAME["T12"].value)
    end = int(np.flatnonzero(body.any(axis=(1, 2)))[0]) + 2  # two slices remain in view
    whole = perfect_predictions(spine)
    grid = crop_geometry(whole.geometry, tuple(slice(0, n) for n in (end, *spine.array.shape[1:])))
    core = whole.core[:end] * np.where(body[:end], np.float32(certainty), 1)
    levels = whole.levels[:, :end]
    predictions = VoxelPredictions(whole.bone[:end], core, levels, grid, levels, grid)
    labels = find_instances(predictions).labels
    lower = labels[spine.array[:end] == BY_NAME["L1"].value]
    upper = int(np.median(labels[body[:end]]))
    assert (upper != int(np.median(lower))) == separate


def thinned(labels: Volume, spacing_mm: float) -> Volume:
    """Return every second voxel, or so, of each axis."""
    steps = [max(1, round(spacing_mm / old)) for old in labels.spacing_mm]
    array = labels.array[tuple(slice(None, None, step) for step in steps)]
    spacing = tuple(step * old for step, old in zip(steps, labels.spacing_mm, strict=True))
    grid = replace(labels.geometry, shape=array.shape, spacing_mm=spacing)
    return Volume(array.copy(), grid)


@pytest.mark.parametrize("case", ["verse010", "verse004"])
def test_real_shapes_are_separated_into_the_right_levels(shared_data, case: str):
    from spinemamba.imaging.orientation import canonical
    from spinemamba.imaging.read import read_volume

    labels = canonical(read_volume(public_cases(shared_data).label(case)))[0]
    labels = labels.with_array(labels.array.astype(np.uint8))
    labels = thinned(cropped_to_labels(labels), 2.0)
    names = assign_levels(find_instances(perfect_predictions(labels)).items).best[0].names
    present = [v for v in BY_VALUE if (labels.array == v).any()]
    assert names == tuple(BY_VALUE[v].name for v in present)
