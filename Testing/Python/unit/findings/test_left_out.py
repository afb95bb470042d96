"""Record and flags of bone that was left out of the labels."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.findings.left_out import left_out_bone, with_left_out
from spinemamba.findings.shape_flags import ShapeFlags, mask_flags
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.protocol.left_out import LOOSE, NEIGHBOUR, LeftOutBone, runs_of

RUNS = {
    "none": ([], ()),
    "one voxel": ([4], (4, 1)),
    "one run": ([4, 5, 6], (4, 3)),
    "two runs": ([0, 1, 7], (0, 2, 7, 1)),
}


@pytest.mark.parametrize("case", RUNS)
def test_runs_hold_exactly_the_voxels(case: str):
    indices, runs = RUNS[case]
    assert runs_of(indices) == runs
    bone = LeftOutBone(1, LOOSE, 1, 0.1, runs)
    assert [k for a, b in bone.spans() for k in range(a, b)] == indices


def test_record_has_pieces_volume_and_voxels_of_each_vertebra():
    geometry = Geometry((4, 5, 6), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    numbers = np.zeros(geometry.shape, np.uint8)
    numbers[0, 0, :2] = numbers[3, 4, 5] = 2
    numbers[1, 1, 1] = 3
    bones = left_out_bone({LOOSE: Volume(numbers, geometry)})
    assert [(b.instance, b.reason, b.pieces) for b in bones] == [(2, LOOSE, 2), (3, LOOSE, 1)]
    assert bones[0].volume_ml == pytest.approx(0.006)
    flat = np.zeros(numbers.size, bool)
    for start, stop in bones[0].spans():
        flat[start:stop] = True
    np.testing.assert_array_equal(flat.reshape(numbers.shape), numbers == 2)


FLAGS = {
    "a speck": (LOOSE, 0.019, []),
    "loose pieces": (LOOSE, 0.02, ["loose_pieces_left_out"]),
    "a neighbour": (NEIGHBOUR, 3.0, ["neighbour_left_out"]),
}


@pytest.mark.parametrize("case", FLAGS)
def test_left_out_bone_is_flagged_from_a_volume_on(case: str):
    reason, volume_ml, names = FLAGS[case]
    bone = LeftOutBone(1, reason, 2, volume_ml, (0, 1))
    numbers = np.ones((3, 3, 3), np.uint8)
    shape = with_left_out(ShapeFlags({}, ()), (bone,), numbers)
    assert [flag.name for flag in shape.by_number[1]] == names
    assert all(f"{volume_ml:.1f}"[:2] in flag.sentence for flag in shape.by_number[1])


@pytest.mark.parametrize("remaining", [False, True])
def test_flag_of_several_pieces_counts_those_that_remain(remaining: bool):
    before = np.zeros((3, 3, 30), bool)
    before[:, :, :10] = before[:, :, 15:18] = True
    flags = mask_flags(before)
    assert [flag.name for flag in flags] == ["several_pieces"]
    after = before.astype(np.uint8)
    after[:, :, 15:18] *= remaining
    bone = LeftOutBone(1, LOOSE, 1, 0.1, (0, 1))
    shape = with_left_out(ShapeFlags({1: flags}, ()), (bone,), after)
    assert ("several_pieces" in [flag.name for flag in shape.by_number[1]]) == remaining
