"""Restore bone that the run has found, but left out of the labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.protocol import flags
from spinemamba.protocol.left_out import FLAGS, LeftOutBone
from spinemamba.protocol.result import Result
from SpineMambaSegmentLib.Review.Mask import EMPTY, Mask, around
from SpineMambaSegmentLib.Review.Pins import instanceOf, resultOf
from SpineMambaSegmentLib.Review.Spine import Edit, Spine
from SpineMambaSegmentLib.Scene import Provenance


@dataclass(frozen=True)
class RestoreBone:
    """Add to some vertebrae the bone that the run left out beside them.

    Voxels of other vertebrae stay. The bone is no longer recorded as left out, and its flags go.
    """

    segmentIds: tuple[str, ...]

    title = _("Restore left-out bone")

    def edit(self, spine: Spine) -> Edit:
        """Return the masks with the bone, and the result and flags without it."""
        result = resultOf(spine)
        numbers = _numbers(spine, self.segmentIds, result)
        bones = [b for b in (result.left_out if result else ()) if b.instance in numbers.values()]
        if result is None or not bones:
            raise UserError(
                _("No bone was left out beside these vertebrae."),
                _("Choose a vertebra whose flags say that bone was left out."),
            )
        masks, tags = {}, {}
        for segmentId, number in numbers.items():
            own = [bone for bone in bones if bone.instance == number]
            if own:
                masks[segmentId] = _withBone(spine, segmentId, _voxels(spine, result, own))
                result = _restored(result, own)
                kept = instanceOf(spine, segmentId, result).flags
                tags[segmentId] = {
                    "SpineMamba.Flags": flags.sentences(kept),
                    "SpineMamba.FlagNames": flags.names(kept),
                }
        text = json.dumps(result.to_json(), separators=(",", ":"))
        return Edit(masks=masks, tags=tags, attributes={Provenance.RESULT_ATTRIBUTE: text})


def _numbers(spine: Spine, segmentIds: Sequence[str], result: Result | None) -> dict[str, int]:
    """Return the instance number of each vertebra that the run has found."""
    numbers = {}
    for segmentId in segmentIds:
        spine.indexOf(segmentId)
        entry = None if result is None else instanceOf(spine, segmentId, result)
        if entry is not None:
            numbers[segmentId] = entry.id
    return numbers


def _voxels(spine: Spine, result: Result, bones: Sequence[LeftOutBone]) -> Mask:
    """Return the voxels of left-out bone on the grid of the review."""
    spans = [span for bone in bones for span in bone.spans()]
    flat = np.concatenate([np.arange(*span) for span in spans])
    index = np.stack(np.unravel_index(flat, result.shape), axis=1)
    steps_mm = index[:, ::-1] * np.array(result.spacing_mm[::-1])
    direction = np.reshape(result.direction_lps, (3, 3))
    lps = steps_mm @ direction.T + np.array(result.origin_lps_mm)
    kji = np.rint(spine.toKji(lps * [-1, -1, 1])).astype(int)
    first = kji.min(axis=0)
    inside = np.zeros(kji.max(axis=0) - first + 1, bool)
    inside[tuple((kji - first).T)] = True
    return Mask.of(inside, first.tolist())


def _withBone(spine: Spine, segmentId: str, bone: Mask) -> Mask:
    """Return the mask of a vertebra with bone that is in no other vertebra."""
    for other, state in spine.states.items():
        if other != segmentId and bone != EMPTY:
            bone = bone.minus(state.mask)
    own = spine.states[segmentId].mask
    parts = [mask for mask in (own, bone) if mask != EMPTY]
    if not parts:
        return EMPTY
    box = around([mask.box for mask in parts])
    inside = np.any([mask.inBox(box) for mask in parts], axis=0)
    return Mask.of(inside, [span.start for span in box])


def _restored(result: Result, bones: Sequence[LeftOutBone]) -> Result:
    """Return the result without the record and the flags of some left-out bone."""
    gone = {(bone.instance, FLAGS[bone.reason]) for bone in bones}
    instances = tuple(
        replace(e, flags=tuple(flag for flag in e.flags if (e.id, flag.name) not in gone))
        for e in result.instances
    )
    left = tuple(bone for bone in result.left_out if bone not in bones)
    return replace(result, instances=instances, left_out=left)
