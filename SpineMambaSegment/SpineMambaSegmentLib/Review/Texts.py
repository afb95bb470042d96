"""Sentences of the section Review: banner, warnings, and what is known of one vertebra. No Qt."""

from __future__ import annotations

import datetime
import itertools

from slicer.i18n import tr as _

from spinemamba.anatomy.numbering_rules import missing_between
from spinemamba.protocol.result import LabelingResult
from SpineMambaSegmentLib.Review.Pins import instanceOf, pinsOf, resultOf
from SpineMambaSegmentLib.Review.Rows import Row
from SpineMambaSegmentLib.Review.SegmentState import (
    APPROVED,
    BY_HAND,
    CORRECTED,
    NAMED_TAG,
    NEEDS_LOOK,
    NOT_STARTED,
)
from SpineMambaSegmentLib.Review.Spine import Spine

MOST_WAYS = 3


def banner(spine: Spine) -> str:
    """Return what is wrong with the levels as a whole; empty if nothing is.

    It is there while the run's levels are ambiguous and nobody has pinned or approved one.
    """
    result = resultOf(spine)
    if result is None or not result.ambiguous or pinsOf(spine) or spine.approved():
        return ""
    if any(state.tag(NAMED_TAG) == BY_HAND for state in spine.states.values()):
        return ""
    ways = [_way(labeling) for labeling in _distinct(result.labelings)]
    text = _("The levels are ambiguous.")
    if len(ways) > 1:
        text = _("The levels are ambiguous: {ways}.").format(ways=_(" or ").join(ways))
    return f"{text} {_('Set one level that you are sure of.')}"


def _distinct(labelings: tuple[LabelingResult, ...]) -> list[LabelingResult]:
    """Return the best ways that begin or end differently."""
    ends: dict[tuple[str | None, str | None], LabelingResult] = {}
    for labeling in labelings:
        if any(labeling.names):
            ends.setdefault((labeling.names[0], labeling.names[-1]), labeling)
    return list(ends.values())[:MOST_WAYS]


def _way(labeling: LabelingResult) -> str:
    names = [name for name in labeling.names if name]
    return _("{first} to {last} ({percent:.0f} %)").format(
        first=names[0], last=names[-1], percent=100 * labeling.posterior
    )


def gaps(spine: Spine) -> list[str]:
    """Return sentences about levels that are missing between two neighbours, or out of order."""
    names = [(state.name, state.level) for state in spine.states.values() if state.level]
    found = []
    for (upper, above), (lower, below) in itertools.pairwise(names):
        missing = missing_between(above, below)
        if missing is None:
            text = _("{upper} lies above {lower}: out of order.")
            found.append(text.format(upper=upper, lower=lower))
        elif missing:
            text = _("Between {upper} and {lower}, {missing} is missing.")
            found.append(text.format(upper=upper, lower=lower, missing=", ".join(missing)))
    return found


def summary(spine: Spine | None) -> str:
    """Return what the user should know of all vertebrae together."""
    if spine is None or not spine.states:
        return _("Nothing was segmented yet.")
    result = resultOf(spine)
    # The banner tells of ambiguous levels, and is gone when they are settled.
    warnings = [] if result is None else [w for w in result.warnings if "ambiguous" not in w]
    return "\n".join([*gaps(spine), *warnings])


def details(spine: Spine, row: Row) -> str:
    """Return what is known of one vertebra, in a few sentences."""
    stamp = fullStamp(row)
    state = statusText(row.status).lower()
    head = _("{name}: {state}.").format(
        name=row.name, state=", ".join(filter(None, [state, stamp]))
    )
    return " ".join(filter(None, [head, _others(spine, row.segmentId), row.reasons]))


def _others(spine: Spine, segmentId: str) -> str:
    result = resultOf(spine)
    entry = None if result is None else instanceOf(spine, segmentId, result)
    if entry is None or not entry.alternatives:
        return ""
    others = ", ".join(f"{name} {100 * p:.0f} %" for name, p in entry.alternatives)
    return _("The networks and the chain also allow {others}.").format(others=others)


def statusText(status: int) -> str:
    """Return what a status is called."""
    return {
        NOT_STARTED: _("Not started"),
        NEEDS_LOOK: _("Needs a look"),
        CORRECTED: _("Corrected"),
        APPROVED: _("Approved"),
    }[status]


def whoAndWhen(row: Row) -> str:
    """Return initials and day of an approval, short enough for a column."""
    if not row.at:
        return ""
    initials = "".join(word[0] for word in row.reviewer.split() if word)
    return " ".join(filter(None, [initials.upper(), _localTime(row.at).strftime("%d %b")]))


def fullStamp(row: Row) -> str:
    """Return who approved it and when, in full; empty if nobody did."""
    if not row.at:
        return ""
    when = _localTime(row.at).strftime("%d %b %Y, %H:%M")
    if not row.reviewer:
        return when
    return _("{who}, {when}").format(who=row.reviewer, when=when)


def _localTime(at: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(at).astimezone()
