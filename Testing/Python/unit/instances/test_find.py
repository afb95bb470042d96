from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from spinemamba.anatomy.labels import BY_NAME, BY_VALUE, NETWORK_LEVELS, channel_of_value
from spinemamba.imaging.masks import dice
from spinemamba.imaging.resample import crop_geometry
from spinemamba.imaging.volume import Volume
from spinemamba.inference.voxel_predictions import Evidence
from spinemamba.instances.find import find_instances, join_first_sacral_body
from spinemamba.instances.to_input_grid import labels_on_input_grid
from spinemamba.levels.solve import assign_levels
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.data.dataset import body_cores, crop_to


def evidence_of(labels: Volume, certainty: float = 0.6) -> Evidence:
    """What perfect networks would say; neighbouring levels share the rest of the probability."""
    lookup = np.zeros(256, int)
    for value, channel in channel_of_value().items():
        lookup[value] = channel
    channels = lookup[labels.array]
    levels = np.full((len(NETWORK_LEVELS), *channels.shape), 0.001, np.float16)
    for k in range(len(NETWORK_LEVELS)):
        levels[k][channels == k + 1] = certainty
        for j in (k - 1, k + 1):
            if 0 <= j < len(NETWORK_LEVELS):
                levels[j][channels == k + 1] = (1 - certainty) / 2
    bone = (labels.array > 0).astype(np.float32)
    core = body_cores(labels).astype(np.float32)
    grid = labels.geometry
    return Evidence(bone, core, levels, grid, levels, grid)


@pytest.fixture(scope="module")
def spine() -> Volume:
    options = PhantomOptions(first="T11", last="L4", spacing_mm=(2.0, 2.0, 2.0), tight=True)
    return make_phantom(5, options).labels


def test_perfect_evidence_gives_every_vertebra_its_voxels_and_its_name(spine: Volume):
    evidence = evidence_of(spine)
    instances = find_instances(evidence)
    solution = assign_levels(instances.items)
    assert solution.best[0].names == ("T11", "T12", "L1", "L2", "L3", "L4")
    values = {k: BY_NAME[n].value for k, n in enumerate(solution.best[0].names, start=1)}
    found = labels_on_input_grid(instances, values, evidence, lambda stage, fraction: None)
    scores = [dice(found == value, spine.array == value) for value in values.values()]
    assert min(scores) > 0.95
    assert dice(found > 0, spine.array > 0) > 0.99


def test_volumes_and_centres_are_those_of_the_vertebrae(spine: Volume):
    for item in find_instances(evidence_of(spine)).items:
        mask = spine.array == 17 + item.id  # T11 is 18
        assert item.volume_ml == pytest.approx(mask.sum() * 8 / 1000, rel=0.08)
        centre = spine.geometry.to_lps_mm(np.argwhere(mask).mean(axis=0))
        np.testing.assert_allclose(item.centroid_lps_mm, centre, atol=1.5)
        assert item.cut_sides == ()


def test_no_vertebra_is_a_sacrum_for_being_a_trace_more_like_one_than_like_l5(spine: Volume):
    evidence = evidence_of(spine)
    place = NETWORK_LEVELS.index("Sacrum")
    evidence.levels[place][spine.array == 18] = 0.01  # L5 has 0.001 at T11
    assert not any(item.is_sacrum for item in find_instances(evidence).items)


@pytest.mark.parametrize(("size", "joined"), [(4, True), (5, False)])
def test_a_fraction_of_a_vertebra_above_the_sacrum_is_its_first_body(size: int, joined: bool):
    # 10 voxels of the first, 4 or 5 of the second, 6 of the sacrum; 0.45 of 10 is 4.5.
    labels = np.repeat([1, 2, 3], [10, size, 6])
    join_first_sacral_body(labels, 2)
    assert (2 in labels) != joined
    assert (labels == 3).sum() == (6 + size if joined else 6)


def test_without_any_core_there_is_no_instance(spine: Volume):
    evidence = evidence_of(spine)
    evidence.core[:] = 0
    instances = find_instances(evidence)
    assert instances.items == ()
    assert assign_levels(instances.items).best == ()


@pytest.mark.parametrize(("certainty", "kept"), [(1.0, True), (0.9, False)])
def test_a_sliver_at_the_end_of_the_image_counts_where_its_core_is_certain(
    spine: Volume, certainty: float, kept: bool
):
    body = (body_cores(spine) > 0) & (spine.array == BY_NAME["T12"].value)
    end = int(np.flatnonzero(body.any(axis=(1, 2)))[0]) + 2  # two slices of it stay in view
    whole = evidence_of(spine)
    grid = crop_geometry(whole.geometry, tuple(slice(0, n) for n in (end, *spine.array.shape[1:])))
    core = whole.core[:end] * np.where(body[:end], np.float32(certainty), 1)
    levels = whole.levels[:, :end]
    evidence = Evidence(whole.bone[:end], core, levels, grid, levels, grid)
    labels = find_instances(evidence).labels
    lower = labels[spine.array[:end] == BY_NAME["L1"].value]
    own = int(np.median(labels[body[:end]]))
    assert (own != int(np.median(lower))) == kept


def thinned(labels: Volume, spacing_mm: float) -> Volume:
    """Return every second voxel, or so, of each axis."""
    steps = [max(1, round(spacing_mm / old)) for old in labels.spacing_mm]
    array = labels.array[tuple(slice(None, None, step) for step in steps)]
    spacing = tuple(step * old for step, old in zip(steps, labels.spacing_mm, strict=True))
    grid = replace(labels.geometry, shape=array.shape, spacing_mm=spacing)
    return Volume(array.copy(), grid)


@pytest.mark.parametrize("case", ["verse010", "verse004"])
def test_real_shapes_come_apart_into_the_right_number(shared_data, case: str):
    from spinemamba.imaging.orientation import canonical
    from spinemamba.imaging.read import read_volume
    from spinemamba.training.data.public_cases import MASKS

    labels = canonical(read_volume(shared_data / MASKS[case]))[0]
    labels = labels.with_array(labels.array.astype(np.uint8))
    box = ndimage.find_objects((labels.array > 0).astype(np.uint8))[0]
    labels = thinned(crop_to(labels, box), 2.0)
    names = assign_levels(find_instances(evidence_of(labels)).items).best[0].names
    present = [v for v in BY_VALUE if (labels.array == v).any()]
    assert names == tuple(BY_VALUE[v].name for v in present)
