"""Cores off the curve of the spine."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from perfect_predictions import perfect_predictions

from spinemamba.imaging.volume import Volume
from spinemamba.instances.find import InstanceOptions, find_instances
from spinemamba.instances.off_spine import (
    bone_of_cores,
    bone_out_of_reach,
    cores_off_spine,
)
from spinemamba.phantom import PhantomOptions, make_phantom

STRAIGHT = np.array([(-30.0 * k, 0.0, 0.0) for k in range(6)])


def moved(changes: dict[int, tuple[float, float, float]]) -> np.ndarray:
    """Return six centres 30 mm below each other, some of them elsewhere."""
    centres = STRAIGHT.copy()
    for k, centre in changes.items():
        centres[k] = centre
    return centres


@pytest.mark.parametrize(
    ("centres", "off"),
    [
        (STRAIGHT, ()),
        # In the liver: in front and to the right of the first body.
        (moved({0: (0.0, -40.0, -30.0)}), (0,)),
        (moved({0: (0.0, -15.0, 5.0)}), ()),
        (moved({5: (-160.0, 60.0, 0.0)}), (5,)),
        (moved({2: (-60.0, 0.0, 45.0)}), (2,)),
        (moved({0: (0.0, -40.0, 30.0), 5: (-150.0, 0.0, -60.0)}), (0, 5)),
        # Two vertebrae were missed, or five.
        (moved({5: (-210.0, 0.0, 0.0)}), ()),
        (moved({5: (-300.0, 0.0, 0.0)}), (5,)),
        # Above the core below it.
        (moved({5: (-90.0, 30.0, 0.0)}), (5,)),
        (moved({0: (0.0, -40.0, -30.0)})[:3], ()),
        (np.zeros((0, 3)), ()),
    ],
)
def test_cores_off_the_curve_of_the_others_are_found(centres, off: tuple[int, ...]):
    assert cores_off_spine(centres) == off


@pytest.mark.parametrize("bend_deg", [10, 20, 30])
def test_a_regular_curve_is_a_spine(bend_deg: float):
    angles = np.radians(bend_deg) * np.arange(7)
    steps = 32 * np.stack([-np.cos(angles), np.sin(angles), np.zeros(7)], axis=1)
    assert cores_off_spine(np.cumsum(steps, axis=0)) == ()


def test_no_annotated_centroid_of_real_spines_is_off(shared_data):
    spines = defaultdict(list)
    with (shared_data / "verse" / "verse20_centroids.csv").open() as file:
        for row in csv.DictReader(file):
            names = ("z_superior_mm", "y_posterior_mm", "x_lr_mm")
            spines[row["case"]].append([float(row[name]) for name in names])
    assert len(spines) > 100
    for centres in spines.values():
        points = np.array(sorted(centres, key=lambda c: -c[0]))
        assert cores_off_spine(points) == ()


@pytest.fixture(scope="module")
def spine() -> Volume:
    options = PhantomOptions(first="T12", last="L3", spacing_mm=(2.5, 2.5, 2.5), tight=True)
    return make_phantom(5, options).labels


def test_a_core_beside_the_spine_is_left_out_with_its_bone(spine: Volume):
    wide = np.zeros((spine.array.shape[0], spine.array.shape[1] + 40, spine.array.shape[2]), int)
    wide[:, 40:] = spine.array
    grid = replace(spine.geometry, shape=wide.shape)
    predictions = perfect_predictions(Volume(wide.astype(np.uint8), grid))
    top = predictions.bone.shape[0] - 8
    liver = np.zeros(predictions.bone.shape, bool)
    liver[top:, 8:30, 20:40] = True
    predictions.bone[liver] = 1
    predictions.core[top + 1 :, 12:26, 24:36] = 1
    predictions.levels[15][liver] = 0.5
    everything = find_instances(predictions)
    assert len(everything.items) == 5
    assert everything.off_spine == 0
    found = find_instances(predictions, InstanceOptions(only_on_curve=True))
    assert len(found.items) == 4
    assert found.off_spine == 1
    assert not found.labels[liver].any()


def test_bone_belongs_to_the_nearest_core():
    seeds = np.zeros((1, 1, 9), np.int32)
    seeds[..., 1], seeds[..., 7] = 1, 2
    bone = np.ones(seeds.shape, bool)
    assert np.flatnonzero(bone_of_cores(seeds, (2,), bone, (1.0, 1.0, 1.0))).tolist() == [
        5,
        6,
        7,
        8,
    ]


def test_bone_further_than_a_vertebra_reaches_is_found():
    spacing_mm = (3.0, 3.0, 3.0)
    seeds = np.zeros((40, 40, 60), np.int32)
    for number, z in enumerate((32, 22, 12), start=1):
        seeds[z - 1 : z + 2, 18:22, 28:32] = number
    bone = np.zeros(seeds.shape, bool)
    bone[20:24, 20, 5:55] = True  # from 73 mm on one side to 75 mm on the other
    bone[22, 2:20, 30] = True  # 53 mm in front
    bone[22, 20:38, 30] = True  # a spinous process
    bone[2, 20, 5:55] = True  # below the last vertebra: the sacrum
    far = bone_out_of_reach(seeds, bone, spacing_mm)
    z, y, x = np.nonzero(far)
    assert set(z) == {20, 21, 22, 23}
    aside_mm, front_mm = np.abs(x - 29.5) * 3, (19.5 - y) * 3
    assert ((aside_mm > 54) | (front_mm > 34)).all()
    kept = bone & ~far
    assert np.abs(np.nonzero(kept[10:])[2] - 29.5).max() * 3 <= 56
    assert kept[22, 20:38, 30].all()
    assert kept[2].sum() == 50
    assert not kept[22, 2:7, 30].any()
