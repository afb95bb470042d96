"""From what an action asks for to the states of the segments: the rules of review. No Qt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from SpineMambaSegmentLib.Review.Mask import Mask
from SpineMambaSegmentLib.Review.SegmentState import (
    APPROVED,
    AT_TAG,
    BY_HAND,
    BY_TAG,
    CORRECTED,
    NAMED_TAG,
    NEEDS_LOOK,
    STATUS_TAG,
    SegmentState,
    newState,
)
from SpineMambaSegmentLib.Review.Spine import PINS_ATTRIBUTE, Edit, Spine, sortedByHeight

SHAPED = {
    "DICOM.SegmentAlgorithmType": "SEMIAUTOMATIC",  # made by a program, corrected by a person
    "SpineMamba.Flags": "",  # said of the voxels as they were
    "SpineMamba.FlagNames": "",
}
"""Tags of a vertebra whose voxels a person has changed."""


def changedStates(
    spine: Spine, edit: Edit, stamp: tuple[str, str]
) -> dict[str, SegmentState | None]:
    """Return the segments that an edit changes, as they shall be; None for one that goes.

    Args:
        spine: The vertebrae before.
        edit: What is asked for.
        stamp: Who does it, and when; written where a status is set.

    Raises:
        UserError: If an approved vertebra would change.
    """
    _refuseApproved(spine, edit)
    found: dict[str, SegmentState | None] = dict.fromkeys(edit.removed)
    for segmentId, mask in _disjoint(spine, edit).items():
        found[segmentId] = _reshaped(spine, edit, segmentId, mask)
    for segmentId, level in edit.levels.items():
        state = found.get(segmentId, spine.states.get(segmentId))
        if state.level != level or state.name != level:
            renamed = state.withLevel(level).withTags({NAMED_TAG: BY_HAND})
            # Another name is no answer to what is wrong with the shape.
            looked = state.status != NEEDS_LOOK
            found[segmentId] = _corrected(renamed) if looked else renamed
    for segmentId, tags in edit.tags.items():
        state = found.get(segmentId, spine.states.get(segmentId))
        who = dict(zip((BY_TAG, AT_TAG), stamp, strict=True)) if STATUS_TAG in tags else {}
        found[segmentId] = state.withTags({**who, **tags})
    return {i: state for i, state in found.items() if state != spine.states.get(i)}


def repaired(old: Spine, now: Spine) -> dict[str, SegmentState | None]:
    """Return what must be written after an edit elsewhere, so that the rules hold again.

    A vertebra that was approved and still is keeps its voxels; where two vertebrae overlap, what
    changed last has the voxel.

    Args:
        old: The vertebrae before the edit.
        now: The vertebrae after it.
    """
    changed = [
        i for i, s in now.states.items() if i not in old.states or s.mask != old.states[i].mask
    ]
    if not changed:
        return {}
    locked = {
        i: old.states[i].mask
        for i, state in now.states.items()
        if i in old.states and APPROVED == state.status == old.states[i].status
    }
    masks = {i: locked.get(i, state.mask) for i, state in now.states.items()}
    # Who comes first keeps what it has.
    order = sorted(masks, key=lambda i: (i not in locked, i not in changed))
    for place, segmentId in enumerate(order):
        if segmentId not in locked:
            own = segmentId in changed
            for first in (i for i in order[:place] if own or i in changed):
                masks[segmentId] = masks[segmentId].minus(masks[first])
    states = {i: replace(state, mask=masks[i]) for i, state in now.states.items()}
    return {i: state for i, state in states.items() if state.mask != now.states[i].mask}


def pinsAfter(spine: Spine, after: Mapping[str, SegmentState | None]) -> dict[str, str]:
    """Return the pins without those of vertebrae that get another level, or go, as an attribute."""
    pins = json.loads(spine.attributes[PINS_ATTRIBUTE] or "{}")
    states = {**spine.states, **after}
    kept = {i: n for i, n in pins.items() if states.get(i) is not None and states[i].level == n}
    return {PINS_ATTRIBUTE: json.dumps(kept, separators=(",", ":")) if kept else ""}


def orderWith(
    spine: Spine, after: Mapping[str, SegmentState | None], order: Sequence[str]
) -> tuple[str, ...]:
    """Return Slicer's order of the segments after a change: a new one follows what lies above."""
    ids = [i for i in order if i not in after or after[i] is not None]
    states = {**spine.states, **{i: s for i, s in after.items() if s is not None}}
    states = {i: s for i, s in states.items() if after.get(i, s) is not None}
    fromHead = sortedByHeight(replace(spine, states=states)).ids
    for segmentId in [i for i in fromHead if i not in ids]:
        place = fromHead.index(segmentId)
        above = fromHead[place - 1] if place else None
        ids.insert(ids.index(above) + 1 if above else 0, segmentId)
    return tuple(ids)


def _refuseApproved(spine: Spine, edit: Edit) -> None:
    wanted = {*edit.removed, *edit.masks, *edit.levels}
    for segmentId in spine.approved():
        state = spine.states[segmentId]
        renamed = edit.levels.get(segmentId, state.level) != state.level
        reshaped = edit.masks.get(segmentId, state.mask) != state.mask
        if segmentId in wanted and (renamed or reshaped or segmentId in edit.removed):
            raise UserError(
                _("{name} is approved and stays as it is.").format(name=state.name),
                _("Take the approval of {name} back first, or leave it out.").format(
                    name=state.name
                ),
            )


def _disjoint(spine: Spine, edit: Edit) -> Mapping[str, Mask]:
    """Return the new masks without what others keep, and those that lose something to them."""
    others = {
        i: state for i, state in spine.states.items() if i not in {*edit.masks, *edit.removed}
    }
    found: dict[str, Mask] = {}
    for segmentId, mask in edit.masks.items():
        for state in others.values():
            if state.status == APPROVED:
                mask = mask.minus(state.mask)
        for earlier in found.values():
            mask = mask.minus(earlier)
        found[segmentId] = mask
    for segmentId, state in others.items():
        if state.status == APPROVED:
            continue
        left = state.mask
        for segmentIdOfNew in edit.masks:
            left = left.minus(found[segmentIdOfNew])
        if left != state.mask:
            found[segmentId] = left
    return found


def _reshaped(spine: Spine, edit: Edit, segmentId: str, mask: Mask) -> SegmentState:
    old = spine.states.get(segmentId)
    state = newState(edit.levels[segmentId], mask) if old is None else replace(old, mask=mask)
    if old is not None and old.mask == mask:
        return old
    volume = f"{mask.count() * spine.voxel_ml:.1f}"
    return _corrected(state.withTags({**SHAPED, "SpineMamba.VolumeMl": volume}))


def _corrected(state: SegmentState) -> SegmentState:
    """Return a state that is marked as corrected and by nobody approved."""
    return state.withStatus(CORRECTED).withTags({BY_TAG: "", AT_TAG: ""})
