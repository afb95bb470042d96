"""Ribs that the level network saw, in words beside the names."""

from __future__ import annotations

import pytest

from spinemamba.protocol.result import Witnesses
from spinemamba.protocol.rib_findings import narrow_note, rib_findings, rib_summary

TRUTH = ("C7", "T1", "T2", "T11", "T12", "L1", "L2")


def witness(
    left: float = 0.0, right: float = 0.0, first: float = 0.0, last: float = 0.0, low: float = 0.0
) -> Witnesses:
    return Witnesses(left, right, first, last, low)


def seen(names: tuple[str, ...] = TRUTH) -> list[Witnesses]:
    """Return what a right network sees of vertebrae that truly have these names."""
    return [
        witness(
            *(0.95 if name[0] == "T" else 0.02,) * 2,
            first=0.7 if name == "T1" else 0.1,
            last=0.7 if name == "T12" else 0.1,
            low=0.9 if name == "L5" else 0.0,
        )
        for name in names
    ]


def test_ribs_that_fit_the_names_are_put_into_words():
    found = rib_findings(TRUTH, seen())
    assert [f.text for f in found] == [
        "No rib seen.",
        "First rib at this vertebra (T1).",
        "Ribs on both sides.",
        "Ribs on both sides.",
        "Last rib at this vertebra (T12).",
        "No rib seen.",
        "No rib seen.",
    ]
    assert [f.mark for f in found] == ["", "first rib", "", "", "last rib", "", ""]
    assert all(f.agrees for f in found)
    assert rib_summary(TRUTH, found) == "First rib at T1, last rib at T12; this fits the names."


def test_names_one_too_low_contradict_the_ribs():
    names = ("T1", "T2", "T3", "T12", "L1", "L2", "L3")
    found = rib_findings(names, seen())
    assert [f.text for f in found] == [
        "No ribs are seen here, but T1 has ribs.",
        "First rib at this vertebra, but it is named T2.",
        "Ribs on both sides.",
        "Ribs on both sides.",
        "Last rib at this vertebra, but it is named L1.",
        "No rib seen.",
        "No rib seen.",
    ]
    assert [f.agrees for f in found] == [False, False, True, True, False, True, True]
    assert found[0].mark == "no rib"
    summary = "First rib at T2, last rib at L1; this does not fit the names: see T1, T2, L1."
    assert rib_summary(names, found) == summary


@pytest.mark.parametrize(
    ("name", "given", "text", "agrees"),
    [
        ("T9", witness(0.9, 0.9), "Ribs on both sides.", True),
        ("L1", witness(0.9, 0.9), "Ribs are seen here, but L1 has none.", False),
        ("T9", witness(0.1, 0.1), "No ribs are seen here, but T9 has ribs.", False),
        ("L1", witness(0.1, 0.1), "No rib seen.", True),
        ("L1", witness(0.4, 0.4), "Ribs unclear.", None),
        ("L1", witness(left=0.9, right=0.1), "Rib on the left only.", None),
        ("L1", witness(left=0.1, right=0.9), "Rib on the right only.", None),
        ("T9", witness(left=0.5, right=0.9), "Rib on the right, unclear on the left.", None),
        ("T9", witness(left=0.1, right=0.5), "No rib on the left, unclear on the right.", None),
        (None, witness(0.9, 0.9), "Ribs on both sides.", None),
        (None, witness(0.1, 0.1), "No rib seen.", None),
        (None, witness(0.9, 0.9, last=0.8), "Last rib at this vertebra.", None),
        ("T13", witness(0.9, 0.9, last=0.8), "Last rib at this vertebra (T13).", True),
        (
            "T12",
            witness(left=0.9, right=0.1, last=0.8),
            "Last rib at this vertebra, on the left only (T12).",
            True,
        ),
        (
            "C7",
            witness(0.9, 0.9, first=0.8),
            "First rib at this vertebra, but it is named C7.",
            False,
        ),
        ("T9", witness(0.9, 0.9, last=0.45), "Ribs on both sides.", True),
        ("L5", witness(low=0.8), "Directly above the sacrum (L5).", True),
        ("L4", witness(low=0.8), "Directly above the sacrum, but it is named L4.", False),
    ],
)  # fmt: skip
def test_the_finding_at_a_single_vertebra(name, given: Witnesses, text: str, agrees):
    (finding,) = rib_findings([name], [given])
    assert finding.text == text
    assert finding.agrees is agrees


@pytest.mark.parametrize(
    ("names", "agrees"),
    [
        (("T10", "T11", "L1"), True),
        (("T10", "T11", "T12"), False),
        (("T11", "T12", "T13"), False),
        (("T11", "T12", "L1"), True),
        (("T12", "T13", "L1"), True),
        (("T12", "L1", "L2"), False),
    ],
)
def test_the_last_rib_fits_the_last_thoracic_vertebra(names: tuple[str, ...], agrees: bool):
    given = [witness(0.9, 0.9), witness(0.9, 0.9, last=0.8), witness()]
    assert rib_findings(names, given)[1].agrees is agrees


def test_the_last_rib_above_a_thoracic_name_says_which_name_is_doubtful():
    given = [witness(0.9, 0.9, last=0.8), witness(0.4, 0.4), witness()]
    found = rib_findings(("T12", "T13", "L1"), given)
    text = "Last rib at this vertebra (T12), but T13 below it has ribs by its name."
    assert found[0].text == text


def test_only_the_most_probable_vertebra_has_the_last_rib():
    given = [witness(0.9, 0.9, last=0.6), witness(0.9, 0.9, last=0.8)]
    assert [f.mark for f in rib_findings(("T11", "T12"), given)] == ["", "last rib"]


def test_a_lumbar_vertebra_of_another_count_fits_above_the_sacrum():
    given = [witness(low=0.9), witness()]
    assert rib_findings(("L4", "Sacrum"), given)[0].agrees is True


def test_without_a_level_network_nothing_is_found():
    found = rib_findings(TRUTH, [None] * len(TRUTH))
    assert found == [None] * len(TRUTH)
    assert rib_summary(TRUTH, found) == ""


def test_without_first_and_last_rib_the_summary_says_so():
    found = rib_findings(("T5", "T6"), [witness(0.9, 0.9)] * 2)
    text = "Neither the first nor the last rib is seen; this fits the names."
    assert rib_summary(("T5", "T6"), found) == text


@pytest.mark.parametrize(
    ("names", "levels"),
    [((), ""), (("C5", "L4"), ""), (("T9",), "At T9 "), (("C7", "T1", "T2", "L1"), "At T1 to L1 ")],
)
def test_only_cut_ribs_at_levels_with_ribs_are_mentioned(names: tuple[str, ...], levels: str):
    note = narrow_note(names)
    assert note.startswith(levels)
    assert bool(note) == bool(levels)
