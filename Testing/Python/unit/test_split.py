"""Two vertebrae in one mask, cut where a person has put a seed into each."""

from __future__ import annotations

import numpy as np

from spinemamba.split import split_by_seeds

MM = (2.0, 1.0, 1.0)


def two_blocks() -> np.ndarray:
    """Two thick blocks with a thin bridge."""
    mask = np.zeros((24, 20, 20), bool)
    mask[2:10, 2:18, 2:18] = True
    mask[14:22, 2:18, 2:18] = True
    mask[10:14, 9:11, 9:11] = True
    return mask


def test_each_block_goes_to_the_seed_in_it_and_the_bridge_is_cut():
    parts = split_by_seeds(two_blocks(), np.array([(5, 10, 10), (18, 10, 10)]), MM)
    assert (parts[2:10][two_blocks()[2:10]] == 1).all()
    assert (parts[14:22][two_blocks()[14:22]] == 2).all()
    assert (parts > 0).sum() == two_blocks().sum()


def test_of_two_seeds_in_one_place_one_gets_all_and_nothing_breaks():
    parts = split_by_seeds(two_blocks(), np.array([(5, 10, 10), (5, 10, 10)]), MM)
    assert set(np.unique(parts)) == {0, 1}


def test_a_mask_too_thin_for_the_coarse_search_is_divided_all_the_same():
    mask = np.zeros((9, 9, 40), bool)
    mask[5, 5] = True
    parts = split_by_seeds(mask, np.array([(5, 5, 5), (5, 5, 35)]), (0.5, 0.5, 0.5))
    assert parts[5, 5, 0] == 1
    assert parts[5, 5, 39] == 2
