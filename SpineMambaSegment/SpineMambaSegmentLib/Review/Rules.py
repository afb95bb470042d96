"""Rules of the review: from a requested `Edit` to the new states of the segments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.protocol.review import BY_HAND, TAKEN_TAG
from SpineMambaSegmentLib.Review.Mask import Mask
from SpineMambaSegmentLib.Review.SegmentState import (
    APPROVED,
    AT_TAG,
    BY_TAG,
    CORRECTED,
    FLAGGED,
    NAMED_TAG,
    STATUS_TAG,
    SegmentState,
    newState,
)
from SpineMambaSegmentLib.Review.Spine import PINS_ATTRIBUTE, Edit, Spine, sortedByHeight

_RESHAPED_TAGS = {
    "DICOM.SegmentAlgorithmType": "SEMIAUTOMATIC",  # automatic, corrected by the user
    "SpineMamba.Flags": "",  # flags refer to the voxels before the change
    "SpineMamba.FlagNames": "",
}
"""Tags of a vertebra whose voxels were changed by the user."""


def changedStates(
    spine: Spine, edit: Edit, stamp: tuple[str, str]
) -> dict[str, SegmentState | None]:
    """Return the new states of the segments that an edit changes; None for removed ones.

    Args:
        spine: The vertebrae before the edit.
        edit: The requested changes.
        stamp: Reviewer and time; stored with a new status.

    Raises:
        UserError: If an approved vertebra would change.
    """
    _refuseApproved(spine, edit)
    states: dict[str, SegmentState | None] = dict.fromkeys(edit.removed)
    for segmentId, mask in _disjoint(spine, edit).items():
        states[segmentId] = _reshaped(spine, edit, segmentId, mask)
    for segmentId, level in edit.levels.items():
        state = states.get(segmentId, spine.states.get(segmentId))
        named = state.withLevel(level)
        if (named.level, named.name) != (state.level, state.name):
            renamed = named.withTags({NAMED_TAG: BY_HAND})
            # Renaming does not clear a shape flag.
            isFlagged = state.status == FLAGGED
            states[segmentId] = renamed if isFlagged else _corrected(renamed)
    for segmentId, tags in edit.tags.items():
        state = states.get(segmentId, spine.states.get(segmentId))
        review = dict(zip((BY_TAG, AT_TAG), stamp, strict=True)) if STATUS_TAG in tags else {}
        states[segmentId] = state.withTags({**review, **tags})
    return {i: state for i, state in states.items() if state != spine.states.get(i)}


def repaired(old: Spine, now: Spine, stamp: tuple[str, str]) -> dict[str, SegmentState | None]:
    """Return the states to write after an edit elsewhere, so that the rules hold again.

    The user may approve a vertebra and withdraw an approval in Slicer, too. A withdrawal changes
    the status and nothing else; any other change of an approved vertebra is reverted, also its
    removal.

    Reviewer and time are written by the review alone. If they differ, a copy of the segment was
    restored, such as by the undo of the Segment Editor; then the review status is put back. A
    vertebra that appears is not approved.

    Where two vertebrae overlap, the changed one keeps the voxel unless the other is approved.

    Args:
        old: The vertebrae before the edit.
        now: The vertebrae after it.
        stamp: Reviewer and time of an approval given elsewhere.
    """
    statuses = {i: _statusRepaired(old.states.get(i), s, stamp) for i, s in now.states.items()}
    locked = {
        i: state
        for i, state in old.states.items()
        if state.status == APPROVED and not _isWithdrawn(state, statuses.get(i))
    }
    wanted = {**statuses, **locked}
    changed = [i for i, s in wanted.items() if i not in old.states or s.mask != old.states[i].mask]
    # Voxels that another vertebra took from a locked one.
    changed += [i for i in locked if i not in now.states or locked[i].mask != now.states[i].mask]
    masks = {i: state.mask for i, state in wanted.items()}
    # On overlap, the earlier segment in this order keeps its voxels.
    order = sorted(masks, key=lambda i: (i not in locked, i not in changed))
    for index, segmentId in enumerate(order):
        if segmentId not in locked:
            isChanged = segmentId in changed
            for earlier in (i for i in order[:index] if isChanged or i in changed):
                masks[segmentId] = masks[segmentId].minus(masks[earlier])
    states = {i: replace(state, mask=masks[i]) for i, state in wanted.items()}
    return {i: state for i, state in states.items() if state != now.states.get(i)}


def _isWithdrawn(old: SegmentState, now: SegmentState | None) -> bool:
    """Return whether an approval was withdrawn, and the vertebra is otherwise unchanged."""
    if now is None or now.status == APPROVED:
        return False
    return now == old.withTags({BY_TAG: "", AT_TAG: ""}).withStatus(now.status)


def _statusRepaired(
    old: SegmentState | None, now: SegmentState, stamp: tuple[str, str]
) -> SegmentState:
    """Return a state with the review status that the rules of `repaired` allow."""
    unstamped = now.withTags({BY_TAG: "", AT_TAG: ""})
    if old is None:
        return unstamped.withStatus(CORRECTED) if now.status == APPROVED else unstamped
    review = {tag: old.tag(tag) for tag in (STATUS_TAG, BY_TAG, AT_TAG)}
    if any(now.tag(tag) != review[tag] for tag in (BY_TAG, AT_TAG)):
        return now.withTags(review)
    if now.status == old.status:
        return now
    if now.status == APPROVED:
        return now.withTags(dict(zip((BY_TAG, AT_TAG), stamp, strict=True)))
    return unstamped


def pinsAfter(spine: Spine, after: Mapping[str, SegmentState | None]) -> dict[str, str]:
    """Return the pin attribute without the pins of renamed and removed vertebrae."""
    pins = json.loads(spine.attributes[PINS_ATTRIBUTE] or "{}")
    states = {**spine.states, **after}
    valid = {i: n for i, n in pins.items() if states.get(i) is not None and states[i].level == n}
    return {PINS_ATTRIBUTE: json.dumps(valid, separators=(",", ":")) if valid else ""}


def orderWith(
    spine: Spine, after: Mapping[str, SegmentState | None], order: Sequence[str]
) -> tuple[str, ...]:
    """Return Slicer's order of the segments; a new one comes after the vertebra above it."""
    ids = [i for i in order if i not in after or after[i] is not None]
    states = {**spine.states, **{i: s for i, s in after.items() if s is not None}}
    states = {i: s for i, s in states.items() if after.get(i, s) is not None}
    fromHead = sortedByHeight(replace(spine, states=states)).ids
    for segmentId in [i for i in fromHead if i not in ids]:
        index = fromHead.index(segmentId)
        above = fromHead[index - 1] if index else None
        ids.insert(ids.index(above) + 1 if above else 0, segmentId)
    return tuple(ids)


def _refuseApproved(spine: Spine, edit: Edit) -> None:
    edited = {*edit.removed, *edit.masks, *edit.levels}
    for segmentId in spine.approved():
        state = spine.states[segmentId]
        renamed = edit.levels.get(segmentId, state.level) != state.level
        reshaped = edit.masks.get(segmentId, state.mask) != state.mask
        if segmentId in edited and (renamed or reshaped or segmentId in edit.removed):
            raise UserError(
                _("{name} is approved and cannot be changed.").format(name=state.name),
                _("Withdraw the approval of {name} first, or exclude it.").format(name=state.name),
            )


def _disjoint(spine: Spine, edit: Edit) -> Mapping[str, Mask]:
    """Return the new masks without approved voxels, and the masks that lose voxels to them."""
    others = {
        i: state for i, state in spine.states.items() if i not in {*edit.masks, *edit.removed}
    }
    masks: dict[str, Mask] = {}
    for segmentId, mask in edit.masks.items():
        for state in others.values():
            if state.status == APPROVED:
                mask = mask.minus(state.mask)
        for earlier in masks.values():
            mask = mask.minus(earlier)
        masks[segmentId] = mask
    for segmentId, state in others.items():
        if state.status == APPROVED:
            continue
        remaining = state.mask
        for newId in edit.masks:
            remaining = remaining.minus(masks[newId])
        if remaining != state.mask:
            masks[segmentId] = remaining
    return masks


def _reshaped(spine: Spine, edit: Edit, segmentId: str, mask: Mask) -> SegmentState:
    old = spine.states.get(segmentId)
    if old is None:
        # No run may replace a part of a vertebra that was taken over.
        taken = [s for s in spine.states.values() if s.tag(TAKEN_TAG)]
        state = newState(edit.levels[segmentId], mask, [s.name for s in taken])
    else:
        state = replace(old, mask=mask)
    if old is not None and old.mask == mask:
        return old
    volume = f"{mask.count() * spine.voxel_ml:.1f}"
    return _corrected(state.withTags({**_RESHAPED_TAGS, "SpineMamba.VolumeMl": volume}))


def _corrected(state: SegmentState) -> SegmentState:
    """Return a state with status corrected and without reviewer."""
    return state.withStatus(CORRECTED).withTags({BY_TAG: "", AT_TAG: ""})
