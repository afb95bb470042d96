"""Every flag is raised by its cause with the right value, and not by a normal spine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.anatomy.statistics import STEP_MM, usual_volume_ml
from spinemamba.findings.level_flags import LEVEL_FLAGS, level_flags
from spinemamba.findings.shape_flags import ShapeFlags, shape_flags, with_metal
from spinemamba.imaging.volume import Geometry
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import Instance, Instances
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.result import Witnesses

NAMES = ["T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4"]


def spine() -> list[Instance]:
    items, height = [], 0.0
    for k, name in enumerate(NAMES, start=1):
        if k > 1:
            height -= STEP_MM[NAMES[k - 2], name][0]
        probabilities = tuple(1.0 if level == name else 0.0 for level in NETWORK_LEVELS)
        items.append(
            Instance(k, (0.0, 0.0, height), usual_volume_ml(name), probabilities, False, ())
        )
    return items


def flags_of(items, k: int, names=NAMES, posteriors=None, doubles=None) -> dict[str, Flag]:
    posteriors, doubles = posteriors or [0.99] * len(items), doubles or [0.0] * len(items)
    flags = level_flags(items, names, [(p, 1 - p) for p in posteriors], doubles)[k]
    assert {flag.name for flag in flags} <= set(LEVEL_FLAGS)
    return {flag.name: flag for flag in flags}


def test_a_normal_spine_has_no_flags():
    items = spine()
    assert not any(flags_of(items, k) for k in range(len(items)))


def test_flag_of_a_truncated_vertebra_lists_the_sides():
    items = spine()
    items[0] = replace(items[0], cut_sides=("superior", "left"))
    assert flags_of(items, 0)["cut_by_image"].sentence == "Cut by the image (superior, left)."


def test_uncertain_levels_and_merged_vertebrae_are_flagged_with_probability():
    items = spine()
    assert flags_of(items, 2, posteriors=[0.5] * 8)["level_uncertain"].value == 0.5
    assert flags_of(items, 2, doubles=[0.7] * 8)["two_in_one"].value == 0.7


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_a_volume_unusual_for_neighbours_and_level_is_flagged(factor: float):
    items = spine()
    items[3] = replace(items[3], volume_ml=factor * items[3].volume_ml)
    flags = flags_of(items, 3)
    assert flags["volume_outlier"].value == pytest.approx(factor, rel=0.1)
    assert flags["volume_unusual"].value == pytest.approx(factor, rel=0.1)


def seen(left: float, right: float) -> Witnesses:
    return Witnesses(left, right, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("k", "witnesses", "value"),
    [
        (3, seen(0.05, 0.1), 0.1),  # T12 without ribs
        (4, seen(0.9, 0.95), 0.9),  # L1 with ribs
        (3, seen(0.05, 0.6), None),  # a rib on one side
        (4, seen(0.95, 0.3), None),
        (3, seen(0.9, 0.9), None),
        (4, seen(0.1, 0.1), None),
    ],
)
def test_ribs_that_contradict_the_level_are_flagged(k: int, witnesses: Witnesses, value):
    items = spine()
    items[k] = replace(items[k], witnesses=witnesses)
    flag = flags_of(items, k).get("ribs_disagree")
    assert (flag and flag.value) == value


def test_a_large_patient_is_not_unusual():
    items = [replace(item, volume_ml=2.5 * item.volume_ml) for item in spine()]
    assert not any(flags_of(items, k) for k in range(len(items)))


def test_gaps_and_wrong_order_of_levels_are_flagged():
    items = spine()
    names = ["T8", *NAMES[1:]]
    assert flags_of(items, 1, names)["level_gap"].value == 1
    assert "T9 was not found" in flags_of(items, 1, names)["level_gap"].sentence
    assert "level_twice" in flags_of(items, 1, ["T10", *NAMES[1:]])
    assert "wrong_order" in flags_of(items, 1, ["T12", *NAMES[1:]])
    t11_only = ["T8", "T9", "T10", "T11", *NAMES[4:]]
    assert "level_gap" not in flags_of(items, 4, t11_only)


def test_an_unusual_distance_is_flagged():
    items = spine()
    down = [replace(i, centroid_lps_mm=(0.0, 0.0, i.centroid_lps_mm[2] - 14)) for i in items[4:]]
    flags = flags_of([*items[:4], *down], 4)
    assert flags["spacing_outlier"].value > 3
    assert "far from" in flags["spacing_outlier"].sentence


SHAPE = (60, 30, 24)


def blocks() -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of four bodies with lateral and posterior processes, and their cores."""
    labels, core = np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.float32)
    for k in range(4):
        z = slice(46 - 14 * k, 58 - 14 * k)
        labels[z, 4:14, 6:18] = labels[z, 14:18, 1:23] = labels[z, 18:24, 9:15] = k + 1
        core[z.start + 3 : z.stop - 3, 7:11, 9:15] = 1
    return labels, core


def flags_from_voxels(labels: np.ndarray, core: np.ndarray, levels: list[str]) -> ShapeFlags:
    grid = Geometry(SHAPE, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    nothing = np.zeros((len(NETWORK_LEVELS), 1, 1, 1), np.float16)
    items = tuple(
        Instance(
            k, (0.0, 0.0, 0.0), 9.0, tuple(float(n == name) for n in NETWORK_LEVELS), False, ()
        )
        for k, name in enumerate(levels, start=1)
    )
    bone = (labels > 0).astype(np.float32)
    predictions = VoxelPredictions(bone, core, nothing, grid, nothing, grid)
    return shape_flags(Instances(labels, items), predictions)


def names_of(shape: ShapeFlags, number: int) -> list[str]:
    return [flag.name for flag in shape.by_number[number]]


def test_normal_shapes_have_no_flags():
    shape = flags_from_voxels(*blocks(), NAMES[:4])
    assert not any(shape.by_number.values())
    assert not shape.scan


def test_unusual_shapes_are_flagged():
    labels, core = blocks()
    labels[46:58, 27:29, 9:15] = 1  # a separate piece
    labels[35:40, 6:12, 9:15] = 0  # a hole in the second
    labels[18:30, 4:24, 12:24] = 0  # the left half of the third is missing
    core[10:11, 7:11, 9:15] = 0  # two cores in the fourth
    shape = flags_from_voxels(labels, core, NAMES[:4])
    assert [names_of(shape, k) for k in (1, 2, 3, 4)] == [
        ["several_pieces"],
        ["hole"],
        ["asymmetry"],
        ["two_cores"],
    ]


def test_wrong_orientation_of_the_patient_is_flagged():
    labels, core = blocks()
    turned = flags_from_voxels(labels[:, ::-1], core[:, ::-1], NAMES[:4])
    assert [flag.name for flag in turned.scan] == ["back_to_front"]
    upside = flags_from_voxels(labels, core, NAMES[3::-1])
    assert [flag.name for flag in upside.scan] == ["upside_down"]


def test_metal_is_flagged_by_its_volume():
    labels, core = blocks()
    image = np.full(SHAPE, 300.0)
    image[48:52, 5:9, 8:12] = 3000
    values = {k: 18 + k for k in range(1, 5)}
    painted = np.where(labels > 0, labels + 18, 0).astype(np.uint8)
    shape = with_metal(flags_from_voxels(labels, core, NAMES[:4]), image, painted, values, 0.008)
    assert names_of(shape, 1) == ["metal"]
    assert shape.by_number[1][0].value == pytest.approx(64 * 0.008)
    assert names_of(shape, 2) == []
