"""Small loose pieces of bone."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.instances.loose_pieces import take_loose_pieces

CASES = {
    # size of the vertebra, size of a piece, gap between them in voxels, whether it is taken
    "a speck": (1000, 1, 3, True),
    "a piece up to the limit": (1000, 30, 3, True),
    "a larger piece": (1000, 31, 3, False),
    "a piece that touches a face": (1000, 10, 0, False),
    "more than a share of a small vertebra": (100, 6, 3, False),
    "less than a share of a small vertebra": (100, 5, 3, True),
}


@pytest.mark.parametrize("case", CASES)
def test_small_loose_pieces_are_taken(case: str):
    size, piece, gap, taken = CASES[case]
    numbers = np.zeros((3, 3, size + piece + 10), np.uint8)
    numbers[1, 1, 1 : 1 + size] = 7
    numbers[1, 1, 1 + size + gap : 1 + size + gap + piece] = 7
    numbers[0, 0, :2] = 9  # another vertebra
    removed = take_loose_pieces(numbers, voxel_ml=0.01)
    assert (numbers == 7).sum() == size + piece * (not taken)
    assert (removed == 7).sum() == piece * taken
    assert (numbers == 9).sum() == 2
    assert not (removed[numbers > 0] > 0).any()


def test_a_piece_that_touches_a_corner_is_loose_as_its_surface_is():
    numbers = np.zeros((6, 6, 6), np.uint8)
    numbers[:4, :4, :4] = 1
    numbers[4, 4, 4] = 1
    removed = take_loose_pieces(numbers, voxel_ml=0.001)
    assert removed[4, 4, 4] == 1
    assert removed.sum() == 1
