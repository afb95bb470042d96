"""Grades of doubt of levels, what would decide, and the sentences about both."""

from __future__ import annotations

from dataclasses import replace

import pytest
from json_contents import RESULT

from spinemamba.findings.level_flags import doubt_flag
from spinemamba.protocol.level_doubt import (
    deciding_sentences,
    grade,
    grade_labelings,
    is_level_warning,
    level_range,
    level_warning,
)
from spinemamba.protocol.result import LabelingResult, Result

LUMBAR = ("L1", "L2", "L3", "L4", "L5")
ONE_UP = ("T12", "L1", "L2", "L3", "L4")
CROSSING = ("T10", "T11", "T12", "L1", "L2", "L3")
CROSSING_UP = ("T9", "T10", "T11", "T12", "L1", "L2")


@pytest.mark.parametrize(
    ("posterior", "rival", "expected"),
    [
        (0.99, 0.01, "none"),
        (0.9, 0.1, "none"),
        (0.8999, 0.01, "likely"),
        (0.87, 0.02, "likely"),
        (0.87, 0.0869, "likely"),
        (0.87, 0.0871, "check_level"),
        (0.8, 0.15, "check_level"),
        (0.75, 0.0, "likely"),
        (0.7499, 0.0, "check_level"),
        (0.4, 0.02, "check_level"),
        (0.5, 0.5, "check_level"),
    ],
)
def test_the_grade_follows_from_the_level_and_its_rival(posterior, rival, expected: str):
    assert grade(posterior, rival) == expected
    flag = doubt_flag(posterior, rival)
    names = {"none": None, "likely": "level_likely", "check_level": "level_uncertain"}
    assert (flag and flag.name) == names[expected]


@pytest.mark.parametrize(
    ("second", "shifted", "expected"),
    [
        (LabelingResult(ONE_UP, 0.15), 0.0, "check_level"),
        (LabelingResult(ONE_UP, 0.02), 0.0, "likely"),
        (LabelingResult(ONE_UP, 0.02), 0.1, "check_level"),
        # Merged vertebrae give the same names, and are no alternative.
        (LabelingResult(LUMBAR, 0.15), 0.0, "likely"),
    ],
)
def test_the_grade_of_labelings_counts_other_names_only(second, shifted, expected: str):
    assert grade_labelings([LabelingResult(LUMBAR, 0.8), second], shifted) == expected


def test_no_labeling_is_not_in_doubt():
    assert grade_labelings([]) == "none"
    assert level_warning([], "none") == ""


@pytest.mark.parametrize(
    ("first", "second", "sentences"),
    [
        (
            CROSSING,
            CROSSING_UP,
            (
                "Count ribs: the last are at T12 for T10 to L3, at L1 for T9 to L2.",
                "An image that shows the sacrum would decide.",
            ),
        ),
        (
            ("C5", "C6", "C7", "T1"),
            ("C6", "C7", "T1", "T2"),
            (
                "Count ribs: the first are at T1 for C5 to T1, at C7 for C6 to T2.",
                "An image that shows C2 would decide.",
            ),
        ),
        (
            (*LUMBAR, "Sacrum"),
            (*ONE_UP, "Sacrum"),
            (
                "Count ribs: L1 has none for L1 to Sacrum, and has them for T12 to Sacrum "
                "without L5.",
            ),
        ),
        (
            (*ONE_UP, "Sacrum"),
            (*LUMBAR, "Sacrum"),
            (
                "Count ribs: T12 has none for L1 to Sacrum, and has them for T12 to Sacrum "
                "without L5.",
            ),
        ),
        (
            (*LUMBAR, "Sacrum"),
            ("L2", "L3", "L4", "L5", "L6", "Sacrum"),
            ("An image that shows the last ribs would decide.",),
        ),
        (
            ("C2", "C3", "C4", "C5"),
            ("C3", "C4", "C5", "C6"),
            ("An image that shows the last ribs would decide.",),
        ),
        (
            ("C2", "C3", "C4", "C5", "C6", "C7"),
            ("C3", "C4", "C5", "C6", "C7", "T1"),
            ("Count ribs: C7 has none for C2 to C7, and has them for C3 to T1.",),
        ),
        (
            ("T3", "T4", "T5", "T6", "T7", "T8"),
            ("T4", "T5", "T6", "T7", "T8", "T9"),
            ("An image that shows C2 or the sacrum would decide.",),
        ),
        (
            (None, *LUMBAR),
            ("T12", *LUMBAR),
            (
                "Look whether the piece next to L1 is a vertebra.",
                "An image that shows the sacrum would decide.",
            ),
        ),
        (LUMBAR, LUMBAR, ()),
    ],
    ids=[
        "last ribs and sacrum",
        "first ribs and C2",
        "ribs at L1",
        "ribs at T12",
        "six lumbar",
        "neck",
        "neck with T1",
        "chest",
        "piece",
        "one labeling",
    ],
)
def test_what_would_decide_depends_on_the_view_and_the_alternatives(first, second, sentences):
    labelings = [LabelingResult(first, 0.6), LabelingResult(second, 0.3)]
    assert deciding_sentences(labelings) == sentences


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("T9", "T10", "T11", "T12", "L1"), "T9 to L1"),
        (("T11", "T12", "T13", "L1"), "T11 to L1 with T13"),
        (("T11", "L1", "L2"), "T11 to L2 without T12"),
        (("L3", "L4", "L5", "L6", "Sacrum"), "L3 to Sacrum with L6"),
        (("L3", "L4", "Sacrum"), "L3 to Sacrum without L5"),
        (("L1", None, "L2"), "L1 to L2 and one piece"),
        ((None, "L1", "L2", None), "L1 to L2 and 2 pieces"),
        (("L1",), "L1"),
        ((None,), "none"),
    ],
)
def test_a_range_says_what_is_unusual_between_its_ends(names, expected: str):
    assert level_range(names) == expected


def test_labelings_with_the_same_ends_are_told_apart():
    with_t13 = LabelingResult(("T10", "T11", "T12", "T13", "L1"), 0.43)
    with_piece = LabelingResult(("T10", "T11", None, "T12", "L1"), 0.2)
    other_piece = LabelingResult(("T10", None, "T11", "T12", "L1"), 0.16)
    assert level_warning([with_t13, with_piece, other_piece], "check_level").startswith(
        "Check one level: T10 to L1 with T13 (43 %) or T10 to L1 and one piece (20 %)."
    )


@pytest.mark.parametrize(
    ("posteriors", "expected"),
    [
        ((0.8, 0.15), "Check one level: L1 to L5 (80 %) or T12 to L4 (15 %). Count ribs: "),
        (
            (0.87, 0.02),
            "The levels are likely, not proven: L1 to L5 (87 %), next T12 to L4 (2 %). ",
        ),
        ((0.9, 0.1), ""),
    ],
)
def test_the_warning_has_the_alternatives_and_what_would_decide(posteriors, expected: str):
    labelings = [LabelingResult(n, p) for n, p in zip((LUMBAR, ONE_UP), posteriors, strict=True)]
    text = level_warning(labelings, grade_labelings(labelings))
    assert text.startswith(expected)
    assert bool(text) == bool(expected) == is_level_warning(text)


def test_a_result_in_doubt_without_labelings_asks_to_check_a_level():
    result = replace(RESULT, labelings=(), ambiguous=True, level_doubt=None)
    assert result.doubt == "check_level"
    assert level_warning(result.labelings, result.doubt) == "Check one level."


@pytest.mark.parametrize(
    ("ambiguous", "posteriors", "expected"),
    [
        (False, (0.8, 0.15), "none"),
        (True, (0.8, 0.15), "check_level"),
        (True, (0.87, 0.02), "likely"),
        (True, (0.91, 0.09), "none"),
    ],
)
def test_a_result_of_an_earlier_version_is_graded_by_its_labelings(
    ambiguous: bool, posteriors, expected: str
):
    pairs = zip((LUMBAR, ONE_UP), posteriors, strict=True)
    labelings = tuple(LabelingResult(names, p) for names, p in pairs)
    values = replace(RESULT, labelings=labelings, ambiguous=ambiguous).to_json()
    del values["level_doubt"], values["deciding"]
    assert Result.from_json(values).doubt == expected


def test_the_warning_of_an_earlier_version_is_about_levels():
    assert is_level_warning("The levels are ambiguous: L1 to L5 (80 %). Verify one level.")
    assert not is_level_warning("MR is experimental.")
