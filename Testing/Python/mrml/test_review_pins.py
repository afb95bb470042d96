"""Fixed levels: the level solver renames the other vertebrae, without a network."""

from __future__ import annotations

import json

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")

from review_helpers import NAMES, add_spine, everything, result_of, spine_labels  # noqa: E402

from spinemamba.common.errors import UserError  # noqa: E402
from SpineMambaSegmentLib.Review.LevelActions import ShiftLevels  # noqa: E402
from SpineMambaSegmentLib.Review.Pins import PinLevel, pinsOf, resultOf  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import APPROVED  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Review.ShapeActions import Delete, SetMask  # noqa: E402
from SpineMambaSegmentLib.Review.StatusActions import SetStatus  # noqa: E402
from SpineMambaSegmentLib.Scene import Provenance  # noqa: E402

WRONG = ("T9", "T10", "T11", "T12", "L1", "L2")
RIGHT = ("T10", "T11", "T12", "L1", "L2", "L3")
STEP_MM = 4.0
"""Blocks are 8 voxels apart: steps of 32 mm."""


@pytest.fixture
def shifted(make_volume):
    """A chain whose evidence and names are one level off."""
    labels = spine_labels(WRONG)
    volume = make_volume(labels.astype(np.int16), np.diag([STEP_MM, STEP_MM, STEP_MM, 1]))
    return add_spine(volume, labels, result_of(WRONG))


def test_one_fixed_level_renames_the_whole_spine_in_one_step(shifted):
    session = ReviewSession(shifted)
    before = everything(shifted)
    session.apply(PinLevel("V19", "L1"))
    assert session.spine.chain == RIGHT
    assert pinsOf(session.spine) == {"V19": "L1"}
    solved = resultOf(session.spine)
    assert [entry.name for entry in solved.instances] == list(RIGHT)
    assert solved.fixed_levels == ((4, "L1"),)
    assert float(session.spine.states["V19"].tag("SpineMamba.Posterior")) > 0.99
    session.undo()
    assert everything(shifted) == before


def test_approved_vertebrae_count_as_fixed_and_keep_their_level(shifted):
    session = ReviewSession(shifted)
    session.apply(SetStatus(("V18",), APPROVED))  # T11, says the person
    before = everything(shifted)
    with pytest.raises(UserError, match="No spine can have these levels"):
        session.apply(PinLevel("V19", "T5"))
    assert everything(shifted) == before


def test_an_added_vertebra_is_named_by_its_position(shifted):
    session = ReviewSession(shifted)
    missed = session.spine.states["V19"].mask
    session.apply(Delete(("V19",)))
    session.apply(SetMask("", missed, "L6"))
    session.apply(PinLevel("V18", "T12"))
    assert session.spine.chain == RIGHT


def test_renaming_a_vertebra_removes_its_pin(shifted):
    session = ReviewSession(shifted)
    session.apply(PinLevel("V19", "L1"))
    session.apply(ShiftLevels(1))
    assert pinsOf(session.spine) == {}
    session.undo()
    assert pinsOf(session.spine) == {"V19": "L1"}


def test_a_spine_without_a_run_is_named_by_positions(make_volume):
    labels = spine_labels(NAMES)
    volume = make_volume(labels.astype(np.int16), np.diag([STEP_MM, STEP_MM, STEP_MM, 1]))
    node = add_spine(volume, labels)
    session = ReviewSession(node)
    session.apply(ShiftLevels(-1))
    session.apply(PinLevel("V24", "L5"))
    assert session.spine.chain == NAMES
    assert node.GetAttribute(Provenance.RESULT_ATTRIBUTE) is None


def test_pins_are_saved_as_plain_json(shifted):
    session = ReviewSession(shifted)
    session.apply(PinLevel("V19", "L1"))
    assert json.loads(shifted.GetAttribute("SpineMamba.Pins")) == {"V19": "L1"}
