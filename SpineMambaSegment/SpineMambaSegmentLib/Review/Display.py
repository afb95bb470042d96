"""What the section Review displays: rows of the table, banner, warnings, details."""

from __future__ import annotations

import datetime
import itertools
from dataclasses import dataclass, replace

from slicer.i18n import tr as _

from spinemamba.anatomy.numbering_rules import missing_between
from spinemamba.protocol.level_doubt import Doubt, is_level_warning
from spinemamba.protocol.review import BY_HAND
from spinemamba.protocol.rib_findings import RibFinding
from SpineMambaSegmentLib.Review.Evidence import ribsOf
from SpineMambaSegmentLib.Review.Naming import decidedBy, doubtOf, isUndecided, namings
from SpineMambaSegmentLib.Review.Pins import instanceOf, pinsOf, resultOf
from SpineMambaSegmentLib.Review.SegmentState import (
    APPROVED,
    AT_TAG,
    BY_TAG,
    CORRECTED,
    FLAGGED,
    NAMED_TAG,
    NOT_STARTED,
    VARIANT_TAG,
    SegmentState,
)
from SpineMambaSegmentLib.Review.Spine import Spine

_URGENCY = {FLAGGED: 0, NOT_STARTED: 1, CORRECTED: 2, APPROVED: 3}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        segmentId: ID of its segment.
        name: Displayed name.
        color: Red, green, blue, 0 to 255.
        posterior: Probability of its level; None if the level was set by the user, or if no run
            is known.
        named: True if the user set its level.
        volume_ml: Volume in mL.
        reasons: Sentences of its flags, and marks such as "sacralised L5".
        status: One of `SegmentState.STATUSES`.
        reviewer: Name of the user who approved it; may be empty.
        at: Time of the approval, ISO 8601 in UTC.
        pinned: True if its level is fixed.
        ribs: Ribs that the level network saw there; None without one.
    """

    segmentId: str
    name: str
    color: tuple[int, int, int]
    posterior: float | None
    named: bool
    volume_ml: float
    reasons: str
    status: int
    reviewer: str
    at: str
    pinned: bool
    ribs: RibFinding | None = None

    @property
    def urgency(self) -> tuple[int, float]:
        """Sort key: status, then probability of the level."""
        return _URGENCY[self.status], 1.0 if self.posterior is None else self.posterior


def rowsOf(spine: Spine, byUrgency: bool = False) -> list[Row]:
    """Return the rows from head to tail, or sorted by urgency."""
    pins = pinsOf(spine)
    ribs = ribsOf(spine).findings
    rows = [
        replace(_row(spine, i, state, i in pins), ribs=ribs.get(i))
        for i, state in spine.states.items()
    ]
    return sorted(rows, key=lambda row: row.urgency) if byUrgency else rows


def _row(spine: Spine, segmentId: str, state: SegmentState, pinned: bool) -> Row:
    posterior = state.tag("SpineMamba.Posterior")
    isManual = state.tag(NAMED_TAG) == BY_HAND
    reasons = [state.tag("SpineMamba.Flags")]
    if variant := state.tag(VARIANT_TAG):
        reasons.append(_("Marked as {variant}.").format(variant=variant))
    return Row(
        segmentId=segmentId,
        name=state.name,
        color=state.color,
        posterior=float(posterior) if posterior and not isManual else None,
        named=isManual,
        volume_ml=round(state.mask.count() * spine.voxel_ml, 3),
        reasons=" ".join(filter(None, reasons)),
        status=state.status,
        reviewer=state.tag(BY_TAG),
        at=state.tag(AT_TAG) if state.status == APPROVED else "",
        pinned=pinned,
    )


def progress(spine: Spine) -> tuple[int, int]:
    """Return the numbers of approved and of all vertebrae."""
    return len(spine.approved()), len(spine.states)


def banner(spine: Spine) -> str:
    """Return the warning about levels in doubt; empty if there is none.

    The warning is shown while the run's levels are in doubt and the user has not named, fixed or
    approved any vertebra.
    """
    if not isUndecided(spine):
        return ""
    choices = namings(spine)
    text = doubtText(doubtOf(spine))
    if choices:
        ranges = choices[0].text
        for choice in choices[1:]:
            ranges = _("{one} or {other}").format(one=ranges, other=choice.text)
        text = _("{doubt}: {ranges}.").format(doubt=text.rstrip("."), ranges=ranges)
    what = decidedBy(choices)
    return " ".join(filter(None, [text, what, _("Set one level that you are sure of.")]))


def doubtText(doubt: Doubt) -> str:
    """Return what a grade of doubt means; empty without doubt."""
    return {
        "none": "",
        "likely": _("The levels are likely, not proven."),
        "check_level": _("Check one level."),
    }[doubt]


def _gaps(spine: Spine) -> list[str]:
    """Return sentences about neighbours that are out of order or have missing levels between."""
    names = [(state.name, state.level) for state in spine.states.values() if state.level]
    sentences = []
    for (upper, above), (lower, below) in itertools.pairwise(names):
        missing = missing_between(above, below)
        if missing is None:
            text = _("{upper} lies above {lower}: out of order.")
            sentences.append(text.format(upper=upper, lower=lower))
        elif missing:
            text = _("Between {upper} and {lower}, {missing} is missing.")
            sentences.append(text.format(upper=upper, lower=lower, missing=", ".join(missing)))
    return sentences


def summary(spine: Spine | None) -> str:
    """Return the warnings about the whole spine, one per line."""
    if spine is None or not spine.states:
        return _("Nothing was segmented yet.")
    result = resultOf(spine)
    # The banner shows levels in doubt, and disappears when they are resolved.
    warnings = [] if result is None else [w for w in result.warnings if not is_level_warning(w)]
    return "\n".join([*_gaps(spine), *warnings])


def details(spine: Spine, row: Row) -> str:
    """Return status, reviewer, alternative levels, flags and ribs of one vertebra as text."""
    stamp = fullStamp(row)
    state = statusText(row.status).lower()
    head = _("{name}: {state}.").format(
        name=row.name, state=", ".join(filter(None, [state, stamp]))
    )
    alternatives = _alternatives(spine, row.segmentId)
    return " ".join(filter(None, [head, alternatives, row.reasons, _ribText(row)]))


def _ribText(row: Row) -> str:
    """Return the sentence about the ribs, unless a flag has the same."""
    text = "" if row.ribs is None else row.ribs.text
    return "" if text in row.reasons else text


def _alternatives(spine: Spine, segmentId: str) -> str:
    result = resultOf(spine)
    entry = None if result is None else instanceOf(spine, segmentId, result)
    if entry is None or not entry.alternatives:
        return ""
    levels = ", ".join(f"{name} {100 * p:.0f} %" for name, p in entry.alternatives)
    return _("Alternative levels: {levels}.").format(levels=levels)


def statusText(status: int) -> str:
    """Return the displayed name of a status."""
    return {
        NOT_STARTED: _("Not started"),
        FLAGGED: _("Flagged"),
        CORRECTED: _("Corrected"),
        APPROVED: _("Approved"),
    }[status]


def whoAndWhen(row: Row) -> str:
    """Return initials and day of an approval, short enough for a table column."""
    if not row.at:
        return ""
    initials = "".join(word[0] for word in row.reviewer.split() if word)
    return " ".join(filter(None, [initials.upper(), _localTime(row.at).strftime("%d %b")]))


def reviewText(row: Row) -> str:
    """Return who approved a vertebra and when, a reason to check it, or its rib as a landmark."""
    reason = row.reasons.partition(". ")[0].rstrip(".")
    return whoAndWhen(row) or reason or _landmark(row)


def _landmark(row: Row) -> str:
    """Return a rib as a landmark, short enough for a table column; empty where there is none."""
    if row.ribs is None or not row.ribs.mark:
        return ""
    what = row.ribs.mark.capitalize()
    if row.ribs.agrees is False:
        return _("{what}: check the name").format(what=what)
    return what


def fullStamp(row: Row) -> str:
    """Return name and time of an approval in full; empty if the vertebra is not approved."""
    if not row.at:
        return ""
    when = _localTime(row.at).strftime("%d %b %Y, %H:%M")
    if not row.reviewer:
        return when
    return _("{who}, {when}").format(who=row.reviewer, when=when)


def _localTime(at: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(at).astimezone()
