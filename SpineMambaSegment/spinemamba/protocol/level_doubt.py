"""How certain the levels of a spine are, and what would decide between the likely labelings.

Standard library only, because the panel uses it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from spinemamba.anatomy.labels import ORDER, RARE

Doubt = Literal["none", "likely", "check_level"]
"""Grade of doubt: none; likely, but not proven; or another level is close, so one must be checked.
"""

Names = Sequence[str | None]
"""Levels from top to bottom; None stands for *not a vertebra*."""

MOST_LABELINGS = 3
"""Greatest number of labelings in a warning."""

_ANCHORS = ("C1", "C2", "Sacrum")
"""Levels whose shape alone names the others."""

_ABSENT = (("T11", "L1", "T12"), ("L4", "Sacrum", "L5"))
"""Neighbours between which a level is absent in some people: above, below, the absent level."""

_WARNINGS = ("The levels are ambiguous", "Check one level", "The levels are likely")
"""Beginnings of the warnings about levels; the first is that of earlier versions."""


LEVELS_DIFFER = "The levels differ from those of "
"""Beginning of the warning about levels that are not those of another scan."""


@dataclass(frozen=True)
class DoubtLimits:
    """Thresholds of the grades, for all vertebrae together as for each.

    Attributes:
        proven: Least posterior probability of levels that are not in doubt.
        likely: Least posterior probability of levels that are likely, not proven. Below it, many
            unlikely alternatives together are as good as a close one.
        close_ratio: An alternative with at least this probability relative to the best is close.
    """

    proven: float = 0.9
    likely: float = 0.75
    close_ratio: float = 0.1


DOUBT_LIMITS = DoubtLimits()


class Labeling(Protocol):
    """A labeling with its posterior: `levels.solve.Labeling` or `result.LabelingResult`."""

    @property
    def names(self) -> tuple[str | None, ...]:
        """Levels from top to bottom."""

    @property
    def posterior(self) -> float:
        """Posterior probability."""


AnyLabeling = TypeVar("AnyLabeling", bound=Labeling)


def grade(posterior: float, rival: float, limits: DoubtLimits = DOUBT_LIMITS) -> Doubt:
    """Return the grade of doubt.

    Args:
        posterior: Posterior probability of the best labeling, or of the level of a vertebra.
        rival: That of the most likely alternative.
        limits: Thresholds.
    """
    if posterior >= limits.proven:
        return "none"
    if posterior < limits.likely or rival >= limits.close_ratio * posterior:
        return "check_level"
    return "likely"


def grade_labelings(labelings: Sequence[Labeling], shifted: float = 0.0) -> Doubt:
    """Return the grade of doubt of the first of several labelings.

    Args:
        labelings: The most likely labelings, best first; may be empty.
        shifted: Posterior probability of an alternative that may be missing from them.
    """
    if not labelings:
        return "none"
    best = labelings[0]
    rivals = [other.posterior for other in labelings[1:] if other.names != best.names]
    return grade(best.posterior, max([shifted, *rivals]))


@dataclass(frozen=True)
class Decider:
    """A finding that would decide between two labelings.

    Attributes:
        kind: "last_ribs" or "first_ribs" lie at another vertebra, "ribs" are only in one of the
            labelings at the vertebra, "piece" is only in one of them a vertebra. The others are
            not in the image: "show_ribs", "show_sacrum", "show_c2", "show_end" (C2 or sacrum).
        at: Index of the vertebra in the first and, for the first two kinds, in the second
            labeling; empty if it is not in the image. That of a piece is its neighbour's.
        inverse: Whether it is the first labeling that has ribs there.
    """

    kind: str
    at: tuple[int, ...] = ()
    inverse: bool = False


def deciders(first: Names, second: Names) -> tuple[Decider, ...]:
    """Return what would decide between two labelings of the same instances, best first."""
    if tuple(first) == tuple(second):
        return ()
    found = list(_in_the_image(first, second))
    levels = [name for name in first if name]
    if not levels:
        return tuple(found)
    if not set(_ANCHORS) & set(levels):
        found.append(Decider(_nearest_end(levels[0], levels[-1])))
    elif not found:
        found.append(Decider("show_ribs"))
    return tuple(found)


def _in_the_image(first: Names, second: Names) -> Iterator[Decider]:
    """Yield what a person can see in this image."""
    borders = []
    for kind, above, below, side in (("last_ribs", "T", "L", 0), ("first_ribs", "C", "T", 1)):
        ends = _border(first, above, below, side), _border(second, above, below, side)
        if None not in ends and ends[0] != ends[1]:
            borders.append(Decider(kind, ends))
    yield from borders
    pairs = list(enumerate(zip(first, second, strict=True)))
    if not borders:
        yield from _ribs_at(first, second)
    both = [k for k, (one, other) in pairs if one and other]
    if both and all(first[k] == second[k] for k in both):
        piece = next(k for k, (one, other) in pairs if (one is None) != (other is None))
        yield Decider("piece", (min(both, key=lambda k: abs(k - piece)),))


def _ribs_at(first: Names, second: Names) -> Iterator[Decider]:
    """Yield the first vertebra that has ribs in only one of two labelings."""
    for k, (one, other) in enumerate(zip(first, second, strict=True)):
        known = one and other and "Sacrum" not in (one, other)
        if known and one.startswith("T") != other.startswith("T"):
            yield Decider("ribs", (k,), inverse=one.startswith("T"))
            return


def _border(names: Names, above: str, below: str, side: int) -> int | None:
    """Return the index of the vertebra on one side of the border between two regions."""
    known = [k for k, name in enumerate(names) if name]
    for pair in itertools.pairwise(known):
        if names[pair[0]].startswith(above) and names[pair[1]].startswith(below):
            return pair[side]
    return None


def _nearest_end(top: str, bottom: str) -> str:
    """Return which end of the spine would decide: the nearer one, or either."""
    up, down = ORDER[top] - ORDER["C2"], ORDER["Sacrum"] - ORDER[bottom]
    if 2 * down <= up:
        return "show_sacrum"
    return "show_c2" if 2 * up <= down else "show_end"


_SENTENCES = {
    "last_ribs": "Count ribs: the last are at {one} for {first}, at {other} for {second}.",
    "first_ribs": "Count ribs: the first are at {one} for {first}, at {other} for {second}.",
    "ribs": "Count ribs: {one} has none for {first}, and has them for {second}.",
    "piece": "Look whether the piece next to {one} is a vertebra.",
    "show_ribs": "An image that shows the last ribs would decide.",
    "show_sacrum": "An image that shows the sacrum would decide.",
    "show_c2": "An image that shows C2 would decide.",
    "show_end": "An image that shows C2 or the sacrum would decide.",
}


def deciding_sentences(labelings: Sequence[Labeling]) -> tuple[str, ...]:
    """Return what would decide between the two most likely labelings; empty if there is one."""
    choices = distinct(labelings)[:2]
    if len(choices) < 2:
        return ()
    names = [choice.names for choice in choices]
    ranges = [level_range(choice.names) for choice in choices]
    out = []
    for decider in deciders(*names):
        first, second = reversed(ranges) if decider.inverse else ranges
        levels = [names[0][k] for k in decider.at]
        words = dict(zip(("one", "other"), levels, strict=False))
        out.append(_SENTENCES[decider.kind].format(first=first, second=second, **words))
    return tuple(out)


def distinct(labelings: Sequence[AnyLabeling]) -> list[AnyLabeling]:
    """Return the most likely labelings that differ in their description by `level_range`."""
    ranges: dict[str, AnyLabeling] = {}
    for labeling in labelings:
        ranges.setdefault(level_range(labeling.names), labeling)
    return list(ranges.values())[:MOST_LABELINGS]


@dataclass(frozen=True)
class Unusual:
    """What is unusual in a labeling.

    Attributes:
        additional: Its levels that most spines do not have.
        absent: Usual levels that its spine does not have.
        pieces: Number of instances that are not vertebrae.
    """

    additional: tuple[str, ...]
    absent: tuple[str, ...]
    pieces: int


def unusual(names: Names) -> Unusual:
    """Return what is unusual in a labeling."""
    known = [name for name in names if name]
    pairs = list(itertools.pairwise(known))
    return Unusual(
        tuple(name for name in known if name in RARE),
        tuple(name for upper, lower, name in _ABSENT if (upper, lower) in pairs),
        len(names) - len(known),
    )


def level_range(names: Names) -> str:
    """Return the first and the last level, and what is unusual between them.

    Examples: "T9 to L4", "T3 to L1 with T13", "T11 to L5 without T12", "L1 to L5 and one piece".
    """
    known = [name for name in names if name]
    if not known:
        return "none"
    text, found = f"{known[0]} to {known[-1]}" if len(known) > 1 else known[0], unusual(names)
    if found.additional:
        text += f" with {' and '.join(found.additional)}"
    if found.absent:
        text += f" without {' and '.join(found.absent)}"
    if found.pieces:
        text += f" and {'one piece' if found.pieces == 1 else f'{found.pieces} pieces'}"
    return text


def level_warning(labelings: Sequence[Labeling], doubt: Doubt) -> str:
    """Return the warning of a grade of doubt, with the likely labelings and what would decide.

    Empty without doubt.
    """
    if doubt == "none":
        return ""
    choices = distinct(labelings)
    ranges = [f"{level_range(c.names)} ({100 * c.posterior:.0f} %)" for c in choices]
    if doubt == "check_level":
        head, listed = "Check one level", " or ".join(ranges)
    else:
        head, listed = "The levels are likely, not proven", ", next ".join(ranges[:2])
    text = f"{head}: {listed}." if listed else f"{head}."
    return " ".join([text, *deciding_sentences(labelings)])


def changes_with_levels(text: str) -> bool:
    """Return whether a warning of a result names levels, so that a renaming makes it again."""
    return is_level_warning(text) or text.startswith(LEVELS_DIFFER)


def is_level_warning(text: str) -> bool:
    """Return whether a warning of a result is about its levels, also one of an earlier version."""
    return text.startswith(_WARNINGS)
