"""Actions that say how far the review of vertebrae is. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from SpineMambaSegmentLib.Review.SegmentState import (
    APPROVED,
    CORRECTED,
    NEEDS_LOOK,
    NOT_STARTED,
    STATUS_TAG,
    STATUS_TEXT,
)
from SpineMambaSegmentLib.Review.Spine import Edit, Spine

TITLES = {
    APPROVED: "Approve",
    NEEDS_LOOK: _("Mark for a look"),
    CORRECTED: _("Mark as corrected"),
    NOT_STARTED: _("Take the review back"),
}


@dataclass(frozen=True)
class SetStatus:
    """Say how far the review of some vertebrae is.

    Attributes:
        segmentIds: The vertebrae.
        status: One of `ReviewState.STATUSES`.
    """

    segmentIds: tuple[str, ...]
    status: int

    @property
    def title(self) -> str:
        """What it is."""
        count = len(self.segmentIds)
        return TITLES[self.status] if count == 1 else f"{TITLES[self.status]} ({count})"

    def edit(self, spine: Spine) -> Edit:
        """Return the new status."""
        for segmentId in self.segmentIds:
            state = spine.states[spine.ids[spine.place(segmentId)]]
            if self.status == APPROVED and state.level is None:
                raise UserError(
                    _("{name} has no level.").format(name=state.name),
                    _("Give it a level before it is approved."),
                )
            if self.status == APPROVED and not state.mask.count():
                raise UserError(
                    _("{name} is empty.").format(name=state.name), _("Paint it, or delete it.")
                )
        text = STATUS_TEXT[self.status]
        changed = [i for i in self.segmentIds if spine.states[i].status != self.status]
        return Edit(tags={i: {STATUS_TAG: text} for i in changed})


@dataclass(frozen=True)
class ApproveRest:
    """Approve every vertebra that is not approved yet; none may be marked for a look."""

    title = _("Approve the rest")

    def edit(self, spine: Spine) -> Edit:
        """Return the approvals."""
        waiting = [s.name for s in spine.states.values() if s.status == NEEDS_LOOK]
        if waiting:
            raise UserError(
                _("Marked for a look: {value}.").format(value=", ".join(waiting)),
                _("Look at each and approve it by itself."),
            )
        left = tuple(i for i, state in spine.states.items() if state.status != APPROVED)
        return SetStatus(left, APPROVED).edit(spine)
