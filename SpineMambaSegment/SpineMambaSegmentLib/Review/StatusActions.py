"""Actions that change the review status of vertebrae, or take them out of the review."""

from __future__ import annotations

import json
from dataclasses import dataclass

from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.protocol import review as triage
from spinemamba.protocol.review import BY_HAND, NAMED_TAG, RELEASED, TAKEN_TAG, Decision
from SpineMambaSegmentLib.Review.Pins import pinsOf
from SpineMambaSegmentLib.Review.SegmentState import (
    APPROVED,
    CORRECTED,
    FLAGGED,
    NOT_STARTED,
    STATUS_TAG,
    STATUS_TEXT,
    TAGS,
)
from SpineMambaSegmentLib.Review.Spine import PINS_ATTRIBUTE, Edit, Spine

_REVIEW_TAGS = (STATUS_TAG, *(name for name in TAGS if name.startswith("SpineMamba.")))

_TITLES = {
    APPROVED: _("Approve"),
    FLAGGED: _("Flag"),
    CORRECTED: _("Mark as corrected"),
    NOT_STARTED: _("Remove the flag"),
}


@dataclass(frozen=True)
class SetStatus:
    """Set the review status of some vertebrae.

    Attributes:
        segmentIds: IDs of the vertebrae.
        status: One of `SegmentState.STATUSES`.
    """

    segmentIds: tuple[str, ...]
    status: int

    @property
    def title(self) -> str:
        """Title of the step."""
        title, count = _TITLES[self.status], len(self.segmentIds)
        if count == 1:
            return title
        return _("{action} ({count})").format(action=title, count=count)

    def edit(self, spine: Spine) -> Edit:
        """Return the new status."""
        for segmentId in self.segmentIds:
            state = spine.states[spine.ids[spine.indexOf(segmentId)]]
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
    """Approve all vertebrae that are not approved yet; not possible while one is flagged."""

    title = _("Approve the rest")

    def edit(self, spine: Spine) -> Edit:
        """Return the approvals."""
        flagged = [s.name for s in spine.states.values() if s.status == FLAGGED]
        if flagged:
            raise UserError(
                _("Flagged: {value}.").format(value=", ".join(flagged)),
                _("Check each of them and approve it individually."),
            )
        remaining = tuple(i for i, state in spine.states.items() if state.status != APPROVED)
        return SetStatus(remaining, APPROVED).edit(spine)


@dataclass(frozen=True)
class TakeDecision:
    """Take names and status of all vertebrae from the decision of a triage."""

    decision: Decision

    title = _("Take the decision of a triage")

    def edit(self, spine: Spine) -> Edit:
        """Return the names and the status.

        Raises:
            UserError: If a vertebra that the reader renamed has another level.
        """
        ids = {state.level: i for i, state in spine.states.items()}
        missing = [x.before for x in self.decision.levels if x.before not in ids]
        if missing:
            raise UserError(
                _("There is no {names}.").format(names=", ".join(missing)),
                _("Open the labels as the run has written them."),
            )
        levels = {ids[x.before]: x.after for x in self.decision.levels}
        tags = {i: {NAMED_TAG: BY_HAND} for i in levels}
        if status := triage.STATUS_TEXT[self.decision.status]:
            for segmentId in spine.states:
                tags.setdefault(segmentId, {})[STATUS_TAG] = status
        return Edit(levels=levels, tags=tags)


@dataclass(frozen=True)
class Release:
    """Take vertebrae of another source out of the review again.

    Names, codes, colours and voxels stay as they are. No run replaces these segments.
    """

    segmentIds: tuple[str, ...]

    title = _("Take out of the review")

    def edit(self, spine: Spine) -> Edit:
        """Return the tags without those of the review."""
        for segmentId in self.segmentIds:
            state = spine.states[spine.ids[spine.indexOf(segmentId)]]
            if not state.tag(TAKEN_TAG):
                raise UserError(
                    _("{name} is from a run of this program.").format(name=state.name),
                    _("Delete it with the menu Shape."),
                )
            if state.status == APPROVED:
                raise UserError(
                    _("{name} is approved and cannot be changed.").format(name=state.name),
                    _("Withdraw the approval of {name} first.").format(name=state.name),
                )
        pins = {i: level for i, level in pinsOf(spine).items() if i not in self.segmentIds}
        text = json.dumps(pins, separators=(",", ":")) if pins else ""
        tags = {**dict.fromkeys(_REVIEW_TAGS, ""), TAKEN_TAG: RELEASED}
        return Edit(
            tags={i: tags for i in self.segmentIds},
            attributes={PINS_ATTRIBUTE: text},
        )
