from __future__ import annotations

import numpy as np

from spinemamba.votes import take_votes


def two_bars() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two bars side by side that touch all along, a seed in each, and the way to the seeds."""
    bone = np.zeros((20, 8, 5), bool)
    bone[2:18, 1:7] = True
    seeds = np.zeros(bone.shape, np.int32)
    seeds[4:6, 2, 2], seeds[14:16, 5, 2] = 1, 2
    offsets = np.zeros((3, *bone.shape), np.float16)
    places = np.indices(bone.shape)
    for rows, centre in ((slice(0, 4), (4.5, 2, 2)), (slice(4, 8), (14.5, 5, 2))):
        for axis in range(3):
            offsets[axis][:, rows] = 2.0 * (centre[axis] - places[axis][:, rows])
    return seeds, bone, offsets


def test_voxels_go_where_they_point_and_not_to_what_is_nearest():
    seeds, bone, offsets = two_bars()
    found = take_votes(seeds, bone, offsets, (2.0, 2.0, 2.0))
    assert (found[:, :4][bone[:, :4]] == 1).all()
    assert (found[:, 4:][bone[:, 4:]] == 2).all()
    assert (found[~bone] == 0).all()


def test_votes_for_a_vertebra_without_a_seed_and_loose_pieces_are_left_open():
    seeds, bone, offsets = two_bars()
    offsets[0, 17] += 100.0  # points past everything
    bone[0] = offsets[0, 0] = 0
    bone[0, 1, 1] = True  # not joined to its bar: row 1 is no bone
    found = take_votes(seeds, bone, offsets, (2.0, 2.0, 2.0))
    assert (found[17] == 0).all()
    assert found[0, 1, 1] == 0


def test_seeds_keep_their_voxels_whatever_these_say():
    seeds, bone, offsets = two_bars()
    offsets[:] = 0.0
    found = take_votes(seeds, bone, offsets, (2.0, 2.0, 2.0))
    assert (found[seeds == 1] == 1).all()
    assert (found[seeds == 2] == 2).all()
