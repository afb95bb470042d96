"""The choice between the namings of a run in doubt, in one step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")

from review_helpers import add_spine, everything, result_of, spine_labels  # noqa: E402

from spinemamba.common.errors import UserError  # noqa: E402
from spinemamba.protocol.result import LabelingResult  # noqa: E402
from SpineMambaSegmentLib.Review.Display import banner  # noqa: E402
from SpineMambaSegmentLib.Review.LevelActions import SetLevel  # noqa: E402
from SpineMambaSegmentLib.Review.Naming import UseNaming, decidedBy, namings  # noqa: E402
from SpineMambaSegmentLib.Review.Pins import PinLevel, pinsOf  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import APPROVED  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Review.ShapeActions import Delete, SetMask  # noqa: E402
from SpineMambaSegmentLib.Review.StatusActions import SetStatus  # noqa: E402

NAMES = ("T10", "T11", "T12", "L1", "L2", "L3")
UP = ("T9", "T10", "T11", "T12", "L1", "L2")
DOWN = ("T11", "T12", "L1", "L2", "L3", "L4")
LUMBAR = ("L1", "L2", "L3", "L4", "L5", "Sacrum")


def run_of(names, *alternatives):
    """Return a result with alternatives, the less likely the later."""
    labelings = zip((names, *alternatives), (0.7, 0.2, 0.06, 0.03), strict=False)
    result = result_of(tuple(name for name in names if name))
    return replace(result, labelings=tuple(LabelingResult(n, p) for n, p in labelings))


def spine_of(make_volume, names, result):
    labels = spine_labels(names)
    volume = make_volume(labels.astype(np.int16), np.diag([4.0, 4.0, 4.0, 1]))
    return add_spine(volume, labels, result)


@pytest.fixture
def node(make_volume):
    """Six vertebrae whose levels may be higher or lower by one."""
    return spine_of(make_volume, NAMES, run_of(NAMES, UP, DOWN))


def test_the_namings_of_the_run_are_listed_the_most_likely_first(node):
    found = namings(ReviewSession(node).spine)
    assert [n.text for n in found] == [
        "T10 to L3 (70 %)",
        "T9 to L2 (20 %)",
        "T11 to L4 (6 %)",
    ]
    assert tuple(found[1].levels.values()) == UP


@pytest.mark.parametrize(("index", "chain"), [(0, NAMES), (1, UP), (2, DOWN)])
def test_a_naming_is_used_in_one_step_that_can_be_undone(node, index: int, chain):
    session = ReviewSession(node)
    before = everything(node)
    session.apply(UseNaming(namings(session.spine)[index]))
    assert session.spine.chain == chain
    assert banner(session.spine) == ""
    assert namings(session.spine) == []
    session.undo()
    assert everything(node) == before
    assert len(namings(session.spine)) == 3


def test_the_voxels_and_ids_stay_when_a_naming_is_used(node):
    session = ReviewSession(node)
    before = {i: state.mask for i, state in session.spine.states.items()}
    session.apply(UseNaming(namings(session.spine)[1]))
    assert {i: state.mask for i, state in session.spine.states.items()} == before


@pytest.mark.parametrize(
    "decide",
    [
        PinLevel("V19", "T12"),
        SetStatus(("V19",), APPROVED),
        SetLevel("V22", "L4"),
    ],
    ids=lambda action: type(action).__name__,
)
def test_no_naming_is_offered_after_the_user_has_decided(node, decide):
    session = ReviewSession(node)
    session.apply(decide)
    assert namings(session.spine) == []
    assert banner(session.spine) == ""


@pytest.mark.parametrize(
    ("decide", "message"),
    [
        (PinLevel("V19", "T12"), "T12 is fixed"),
        (SetStatus(("V19",), APPROVED), "T12 is approved"),
    ],
    ids=["pin", "lock"],
)
def test_a_naming_that_contradicts_a_pin_or_a_lock_is_refused(node, decide, message: str):
    session = ReviewSession(node)
    naming = namings(session.spine)[1]
    session.apply(decide)
    before = everything(node)
    with pytest.raises(UserError, match=message):
        session.apply(UseNaming(naming))
    assert everything(node) == before


def test_a_naming_that_agrees_with_pins_keeps_them(node):
    session = ReviewSession(node)
    naming = namings(session.spine)[0]
    session.apply(PinLevel("V19", "T12"))
    session.apply(UseNaming(naming))
    assert pinsOf(session.spine) == {"V19": "T12"}
    assert session.spine.chain == NAMES


def test_a_vertebra_without_a_level_in_the_naming_is_named_in_the_refusal(node):
    session = ReviewSession(node)
    naming = namings(session.spine)[1]
    mask = session.spine.states["V19"].mask
    session.apply(Delete(("V19",)))
    session.apply(SetMask("", mask, "L6"))
    with pytest.raises(UserError, match="not named L6"):
        session.apply(UseNaming(naming))


def test_instances_that_are_no_vertebrae_do_not_shift_a_naming(make_volume):
    # The first instance is a piece of a rib, says the best labeling; the result has no entry of it.
    result = run_of((None, *NAMES), ("T8", *UP))
    session = ReviewSession(spine_of(make_volume, NAMES, result))
    assert tuple(namings(session.spine)[1].levels.values()) == UP


@pytest.mark.parametrize(
    ("names", "alternatives", "what"),
    [
        (
            NAMES,
            (UP,),
            "Count ribs: the last are at T12 for T10 to L3, at L1 for T9 to L2. "
            "An image that shows the sacrum would decide.",
        ),
        (
            LUMBAR,
            (("T12", "L1", "L2", "L3", "L4", "Sacrum"),),
            "Count ribs: L1 has none for L1 to Sacrum, and has them for T12 to Sacrum without L5.",
        ),
        (
            ("C2", "C3", "C4", "C5", "C6", "C7"),
            (("C3", "C4", "C5", "C6", "C7", "T1"),),
            "Count ribs: C7 has none for C2 to C7, and has them for C3 to T1.",
        ),
        (
            ("C5", "C6", "C7", "T1", "T2", "T3"),
            (("C4", "C5", "C6", "C7", "T1", "T2"),),
            "Count ribs: the first are at T1 for C5 to T3, at T2 for C4 to T2. "
            "An image that shows C2 would decide.",
        ),
        (
            ("T3", "T4", "T5", "T6", "T7", "T8"),
            (("T4", "T5", "T6", "T7", "T8", "T9"),),
            "An image that shows C2 or the sacrum would decide.",
        ),
        (NAMES, (), ""),
    ],
    ids=["last ribs", "sacrum", "C2", "first ribs", "thoracic", "one naming"],
)
def test_the_banner_says_what_would_decide(make_volume, names, alternatives, what: str):
    session = ReviewSession(spine_of(make_volume, names, run_of(names, *alternatives)))
    assert decidedBy(namings(session.spine)) == what
    assert what in banner(session.spine)
