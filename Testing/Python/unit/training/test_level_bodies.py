"""Chains of vertebrae of whole bodies: ribs of other patients, and vertebrae in two instances."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_body import NAMES, SPACING_MM, body_volumes

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.imaging.vertebra_crops import CROP_VOX, IN_VIEW, OTHERS, THIS, crop_offsets_mm
from spinemamba.network.level_sequence import LAST_RIB, NO_VERTEBRA, RIB_LEFT
from spinemamba.training.data.bodies import Body, body_case
from spinemamba.training.data.patches import Patch
from spinemamba.training.data.structures import STRUCTURE, rib_numbers
from spinemamba.training.levels.chains import (
    LOWER,
    UPPER,
    VERTEBRA,
    Chain,
    ChainOptions,
    Entry,
    draw_chain,
)
from spinemamba.training.levels.crops import (
    CropOptions,
    ExampleOptions,
    LevelExample,
    draw_example,
)
from spinemamba.training.levels.ribs import sheared, with_other_ribs
from spinemamba.training.levels.spines import SPACING_MM as CROP_SPACING_MM
from spinemamba.training.levels.spines import Spine, spine_of
from spinemamba.training.synthesis.options import CT_ONLY

NO_FAULTS = ChainOptions(1.0, 0.0, (2, 14), 0.0, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0), 0.0, 0.0)
NEVER = (0.0, 1.0, 1.0)
PLAIN = CropOptions((1.0, 0.0), NEVER, 0.0, 0.0, 0.0, NEVER, NEVER, 0.0, NEVER, 0.0, 0.0)
PLAIN = replace(PLAIN, sheared=NEVER, short_rib=NEVER, alone=0.0, beyond=(1.4, 1.4))


@pytest.fixture(scope="module")
def spine() -> Spine:
    found = spine_of(body_case(Body("body", *body_volumes()), CROP_SPACING_MM))
    assert found is not None
    return found


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def example(spine: Spine, seed: int = 0, **chain: float) -> LevelExample:
    options = ExampleOptions(replace(NO_FAULTS, **chain), PLAIN, CT_ONLY)
    return draw_example(spine, options, seeded(seed))


def test_a_body_is_a_spine_with_ribs_as_witnesses(spine: Spine):
    assert spine.levels == NAMES
    drawn = example(spine)
    names = [NETWORK_LEVELS[row] for row in drawn.levels.argmax(dim=1)]
    assert names == list(NAMES)
    assert drawn.witnesses[:, RIB_LEFT].tolist() == [1, 1, 1, 0, 0, 0]
    assert drawn.witnesses[:, LAST_RIB].tolist() == [0, 0, 1, 0, 0, 0]


def test_equal_seeds_draw_equal_chains_of_a_body(spine: Spine):
    options = ExampleOptions()
    one, other = (draw_example(spine, options, seeded(11)) for _ in "ab")
    for a, b in zip(vars(one).values(), vars(other).values(), strict=True):
        assert torch.equal(a, b)


def test_a_vertebra_in_two_instances_is_half_a_name_each(spine: Spine):
    for seed in range(9):
        chain = draw_chain(spine, replace(NO_FAULTS, doubled=1.0), seeded(seed))
        kinds = [entry.kind for entry in chain.entries]
        assert sorted(kinds) == sorted([VERTEBRA] * 5 + [UPPER, LOWER])
        at = kinds.index(UPPER)
        assert kinds[at + 1] == LOWER
        assert chain.entries[at].shift_mm[0] > chain.entries[at + 1].shift_mm[0]
    drawn = example(spine, seed, doubled=1.0)
    assert drawn.levels[at : at + 2, NO_VERTEBRA].tolist() == [0.5, 0.5]
    assert (drawn.levels.sum(dim=1) == 1).all()
    assert not drawn.known[at : at + 2].any()
    whole = example(spine).crops[at, THIS].sum()
    halves = drawn.crops[at : at + 2, THIS].sum(dim=(1, 2, 3))
    assert (halves < 0.8 * whole).all()
    assert halves.sum() == pytest.approx(float(whole), rel=0.1)
    # Each half sees the other one as its neighbour.
    assert (drawn.crops[at, OTHERS] > 0).sum() > (example(spine).crops[at, OTHERS] > 0).sum()


def crops_with_ribs(count: int) -> Patch:
    """Return crops with the left twelfth rib along a row, from 10 to 70 mm aside."""
    shape = (count * CROP_VOX[0], *CROP_VOX[1:])
    tissues, depth = torch.zeros(shape, dtype=torch.uint8), torch.full(shape, -8.0)
    aside = torch.from_numpy(crop_offsets_mm())[0, 0, :, 2]
    rib = (aside > 10) & (aside < 70)
    tissues[10:13, 20:23, rib] = STRUCTURE + rib_numbers(12)[0]
    depth[10:13, 20:23, rib] = 2.0
    empty = torch.zeros(0)
    return Patch(tissues, empty, empty, empty, None, tissues, depth, other_depth_mm=depth)


def chain_of(levels: tuple[str, ...]) -> Chain:
    entries = tuple(Entry(k) for k in range(len(levels)))
    return Chain(tuple(range(len(levels))), levels, 0, len(levels), entries)


def test_a_short_last_rib_ends_at_its_length():
    patch = crops_with_ribs(2)
    short = with_other_ribs(patch, chain_of(("T12", "L1")), (1.0, 40.0, 40.0), seeded())
    aside = torch.from_numpy(crop_offsets_mm())[0, 0, :, 2]
    left = (short.other_depth_mm[11, 21] > 0).nonzero()[:, 0]
    assert aside[left].min() == pytest.approx(11, abs=2)
    assert aside[left].max() == pytest.approx(39, abs=2)
    same = with_other_ribs(patch, chain_of(("T12", "L1")), NEVER, seeded())
    assert same is patch


def test_without_the_last_thoracic_level_its_ribs_are_gone():
    chain = chain_of(("T11", "L1"))
    assert chain.lacks_last_ribs
    assert not chain_of(("T11", "T12", "L1")).lacks_last_ribs
    gone = with_other_ribs(crops_with_ribs(2), chain, NEVER, seeded())
    assert (gone.other_depth_mm <= -7.9).all()
    assert not (gone.tissues >= STRUCTURE).any()


def test_ribs_are_sheared_aside_of_the_vertebra_only():
    offsets = torch.from_numpy(crop_offsets_mm()).float() / CROP_SPACING_MM
    moved = sheared(offsets, (1.0, 0.5, 0.5), seeded(3))
    aside = offsets[..., 2].abs() * CROP_SPACING_MM
    assert torch.equal(moved[aside < 18], offsets[aside < 18])
    up = (moved - offsets)[..., 0]
    assert (up[aside > 31] > 0).all()
    assert torch.equal(up, up.flip(2))  # the same on both sides
    assert torch.equal(moved[..., 2], offsets[..., 2])
    assert sheared(offsets, NEVER, seeded()) is offsets


def test_masks_of_a_body_leak_into_its_ribs(spine: Spine):
    leaking = replace(PLAIN, leaking=(1.0, 8.0, 8.0))
    exact, leaked = (
        draw_example(spine, ExampleOptions(NO_FAULTS, options, CT_ONLY), seeded())
        for options in (PLAIN, leaking)
    )
    grown = (leaked.crops[:, THIS] - exact.crops[:, THIS]).sum(dim=(1, 2, 3))
    assert (grown[:3] > 0).all()
    assert (grown[-2:] == 0).all()  # lumbar vertebrae have no ribs
    assert SPACING_MM > CROP_SPACING_MM


def test_some_vertebrae_lose_the_masks_of_their_neighbours(spine: Spine):
    options = ExampleOptions(NO_FAULTS, replace(PLAIN, alone=1.0), CT_ONLY)
    seen = set()
    for seed in range(4):
        drawn = draw_example(spine, options, seeded(seed))
        seen |= set((drawn.crops[:, OTHERS].sum(dim=(1, 2, 3)) > 0).tolist())
        assert (drawn.crops[:, THIS].sum(dim=(1, 2, 3)) > 0).all()
    assert seen == {True, False}


def test_the_field_of_view_may_end_in_the_last_vertebra(spine: Spine):
    options = ExampleOptions(NO_FAULTS, replace(PLAIN, beyond=(-0.25, -0.25)), CT_ONLY)
    cut = draw_example(spine, options, seeded())
    whole = example(spine)
    assert cut.crops[0, IN_VIEW].sum() < whole.crops[0, IN_VIEW].sum()
    assert cut.crops[0, THIS].sum() < whole.crops[0, THIS].sum()
