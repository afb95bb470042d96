"""Bone of neighbours whose bodies the image does not show, with perfect networks."""

from __future__ import annotations

import numpy as np
import pytest
from perfect_predictions import perfect_predictions

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.imaging.masks import dice
from spinemamba.imaging.resample import crop_geometry
from spinemamba.imaging.truncation import FieldOfView
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.instances.chain_ends import chain_ends
from spinemamba.instances.find import InstanceOptions, Instances, find_instances
from spinemamba.instances.to_input_grid import split_on_input_grid
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.data.dataset import body_cores


def phantom(first: str, last: str) -> Volume:
    options = PhantomOptions(first=first, last=last, spacing_mm=(2.0, 2.0, 2.0), tight=True)
    return make_phantom(5, options).labels


def cropped(labels: Volume, rows: slice) -> Volume:
    box = (rows, *(slice(0, n) for n in labels.array.shape[1:]))
    return Volume(np.ascontiguousarray(labels.array[box]), crop_geometry(labels.geometry, box))


def without_body(labels: Volume, level: str, *, top: bool) -> Volume:
    """Return the labels without the rows from the core of a level to the end of the image."""
    core = (body_cores(labels) > 0) & (labels.array == BY_NAME[level].value)
    rows = np.flatnonzero(core.any(axis=(1, 2)))
    return cropped(
        labels, slice(0, rows.min()) if top else slice(rows.max() + 1, len(labels.array))
    )


def found(labels: Volume, **options: bool) -> Instances:
    return find_instances(perfect_predictions(labels), InstanceOptions(**options))


CASES = {"above": ("T11", "L3", "T11", True), "below": ("T12", "L4", "L4", False)}


@pytest.mark.parametrize("case", CASES)
def test_bone_of_a_neighbour_without_its_body_is_left_out(case: str):
    first, last, hidden, top = CASES[case]
    labels = without_body(phantom(first, last), hidden, top=top)
    beside = 1 if top else 4
    value = BY_NAME["T12" if top else "L3"].value
    foreign = labels.array == BY_NAME[hidden].value
    assert foreign.sum() * 0.008 > 1.0  # mL, or the case is no test
    instances = found(labels)
    assert instances.hidden is not None
    assert set(np.unique(instances.hidden)) == {0, beside}
    assert dice(instances.hidden > 0, foreign) > 0.8
    assert dice(instances.labels == beside, labels.array == value) > 0.95
    kept = found(labels, hidden_neighbours=False)
    assert kept.hidden is None
    assert (kept.labels[foreign] == beside).mean() > 0.8


def test_hidden_bone_keeps_its_border_on_the_input_grid():
    labels = without_body(phantom("T11", "L3"), "T11", top=True)
    predictions = perfect_predictions(labels)
    instances = find_instances(predictions)
    numbers, hidden = split_on_input_grid(instances, [1, 2, 3, 4], predictions, lambda *_: None)
    assert not (numbers[hidden > 0] > 0).any()
    assert (hidden > 0).sum() == (instances.hidden > 0).sum()
    later, owner = split_on_input_grid(instances, [2, 3, 4], predictions, lambda *_: None)
    assert set(np.unique(owner)) == {0, 2}
    assert set(np.unique(later)) == {0, 2, 3, 4}


@pytest.mark.parametrize(
    ("first", "last"), [("T11", "L3"), ("C1", "C4"), ("L3", "Sacrum")], ids=str
)
def test_no_bone_of_whole_spines_is_left_out(first: str, last: str):
    labels = phantom(first, last)
    assert found(labels).hidden is None


GRID = Geometry((100, 40, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
LAYOUTS = {
    "both neighbours are beyond the image": ((90, 60, 20), 20.0, False, (True, True)),
    "both would be in the image": ((75, 60, 40), 20.0, False, (False, False)),
    "the first is the atlas": ((90, 75, 60), 0.4, False, (False, False)),
    "a sacrum follows within the image": ((75, 60, 45), 20.0, True, (False, True)),
    "a single core": ((50,), 20.0, False, (False, False)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cores_are_extrapolated_only_where_a_neighbour_is_hidden(layout: str):
    rows, level, sacrum, expected = LAYOUTS[layout]
    seeds = np.zeros(GRID.shape, np.int32)
    for number, row in enumerate(rows, start=1):
        seeds[row - 1 : row + 2, 9:12, 19:22] = number
    if sacrum:
        seeds[5:20, 5:15, 10:30] = len(rows) + 1
    ends = chain_ends(
        seeds, np.full(GRID.shape, level), GRID, FieldOfView.of_grid(GRID), sacrum=sacrum
    )
    assert (ends.above_mm is not None, ends.below_mm is not None) == expected
    if ends.below_mm is not None:
        step = rows[-2] - rows[-1]
        np.testing.assert_allclose(ends.below_mm, [rows[-1] - 0.85 * step, 10, 20])
