"""Bone that was left out of the labels: its record in the result, and its quality flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from spinemamba.findings.level_flags import LIMITS
from spinemamba.findings.shape_flags import ShapeFlags, mask_flags
from spinemamba.imaging.masks import boxes_of, pieces_of
from spinemamba.imaging.volume import Volume
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.left_out import FLAGS, LOOSE, LeftOutBone, runs_of

_PIECES = "several_pieces"


def left_out_bone(by_reason: Mapping[str, Volume]) -> tuple[LeftOutBone, ...]:
    """Return the record of bone that was left out.

    Args:
        by_reason: For each reason, the number of the instance to which each voxel would belong, 0
            elsewhere, on the grid of the input.
    """
    out = []
    for reason, numbers in by_reason.items():
        for number, box in boxes_of(numbers.array).items():
            mask = numbers.array[box] == number
            index = np.argwhere(mask) + [s.start for s in box]
            flat = np.ravel_multi_index(tuple(index.T), numbers.array.shape)
            volume_ml = len(flat) * numbers.geometry.voxel_ml
            runs = runs_of(np.sort(flat).tolist())
            out.append(LeftOutBone(number, reason, len(pieces_of(mask)[1]), volume_ml, runs))
    return tuple(out)


def with_left_out(
    shape: ShapeFlags, left_out: Sequence[LeftOutBone], numbers: np.ndarray
) -> ShapeFlags:
    """Return the flags with those of left-out bone.

    The flag of several pieces is renewed, because a piece that was left out is no piece any more.

    Args:
        shape: Flags from voxels.
        left_out: Bone that was left out.
        numbers: Instance number of each remaining voxel.
    """
    by_number, boxes = dict(shape.by_number), boxes_of(numbers)
    for bone in left_out:
        flags = by_number.get(bone.instance, ())
        if bone.reason == LOOSE:
            mask = numbers[boxes[bone.instance]] == bone.instance
            pieces = [flag for flag in mask_flags(mask) if flag.name == _PIECES]
            flags = (*(flag for flag in flags if flag.name != _PIECES), *pieces)
        if bone.volume_ml >= LIMITS.left_out_ml:
            flags = (*flags, _flag(bone))
        by_number[bone.instance] = flags
    return replace(shape, by_number=by_number)


def _flag(bone: LeftOutBone) -> Flag:
    if bone.reason == LOOSE:
        pieces = "1 loose piece" if bone.pieces == 1 else f"{bone.pieces} loose pieces"
        sentence = f"Without {pieces} of bone ({bone.volume_ml:.2f} mL), which can be restored."
    else:
        sentence = (
            f"Without bone of a neighbour whose body the image does not show "
            f"({bone.volume_ml:.1f} mL), which can be restored."
        )
    return Flag(FLAGS[bone.reason], bone.volume_ml, sentence)
