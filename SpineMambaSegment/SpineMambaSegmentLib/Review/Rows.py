"""Contents of the table of vertebrae: rows, order and progress."""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _

from SpineMambaSegmentLib.Review.Pins import pinsOf
from SpineMambaSegmentLib.Review.SegmentState import (
    APPROVED,
    AT_TAG,
    BY_HAND,
    BY_TAG,
    CORRECTED,
    FLAGGED,
    NAMED_TAG,
    NOT_STARTED,
    VARIANT_TAG,
    SegmentState,
)
from SpineMambaSegmentLib.Review.Spine import Spine

URGENCY = {FLAGGED: 0, NOT_STARTED: 1, CORRECTED: 2, APPROVED: 3}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        segmentId: ID of its segment.
        name: Displayed name.
        color: Red, green, blue, 0 to 255.
        posterior: Probability of its level; None if the level was set by the user, or if no run
            is known.
        volume_ml: Volume in mL.
        reasons: Sentences of its flags, and marks such as "sacralised L5".
        status: One of `SegmentState.STATUSES`.
        reviewer: Name of the user who approved it; may be empty.
        at: Time of the approval, ISO 8601 in UTC.
        pinned: True if its level is fixed.
    """

    segmentId: str
    name: str
    color: tuple[int, int, int]
    posterior: float | None
    volume_ml: float
    reasons: str
    status: int
    reviewer: str
    at: str
    pinned: bool

    @property
    def urgency(self) -> tuple[int, float]:
        """Sort key: status, then probability of the level."""
        return URGENCY[self.status], 1.0 if self.posterior is None else self.posterior


def rowsOf(spine: Spine, byUrgency: bool = False) -> list[Row]:
    """Return the rows from head to tail, or sorted by urgency."""
    pins = pinsOf(spine)
    rows = [_row(spine, i, state, i in pins) for i, state in spine.states.items()]
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
