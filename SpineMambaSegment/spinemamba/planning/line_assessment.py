"""Test a line, from entry to tip, against the vertebra that it passes through.

Slicer's process imports this module.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spinemamba.planning.breach import Bone, Shaft, shaft_between, tested
from spinemamba.protocol.planning.markups import ScrewLine
from spinemamba.protocol.planning.plan import SIDES, Corridor

_STEP_MM = 0.5
_USUAL_MM = {"C": 3.5, "T": 5.0, "L": 6.0}
"""Diameter of a line without one, by region."""


def assess_line(
    bones: Mapping[str, Bone], turn: np.ndarray, line: ScrewLine
) -> tuple[str, str, Corridor]:
    """Return level, side and test of a line.

    Args:
        bones: Vertebrae by level, in the coordinates of the standing spine.
        turn: Rotation from the header's LPS to the standing spine, (3, 3).
        line: The line in the header's LPS.

    Returns:
        Level, side, and the test in the coordinates of the standing spine.

    Raises:
        ValueError: If it passes through none of the vertebrae; the message is the reason.
    """
    entry, tip = (turn @ np.asarray(p, float) for p in (line.entry_lps_mm, line.tip_lps_mm))
    level = _level_at(bones, entry, tip)
    bone = bones[level]
    start, end = (bone.field.frame.to_local(p) for p in (entry, tip))
    diameter = line.diameter_mm or _USUAL_MM[level[0]]
    shaft = shaft_between(bone, start, end, diameter)
    side = side_of(shaft)
    return level, side, tested(bone, shaft, "edited", 1.0 if side == SIDES[0] else -1.0)


def side_of(shaft: Shaft) -> str:
    """Return the side of the isthmus of a shaft."""
    return SIDES[0] if shaft.line.point_mm[0] > 0 else SIDES[1]


def _level_at(bones: Mapping[str, Bone], entry: np.ndarray, tip: np.ndarray) -> str:
    """Return the level that contains most of a line.

    Raises:
        ValueError: If there is none.
    """
    count = max(2, round(float(np.linalg.norm(tip - entry)) / _STEP_MM))
    points = entry + np.linspace(0, 1, count)[:, None] * (tip - entry)
    inside = {
        level: int((bone.field.at(bone.field.frame.to_local(points)) > 0).sum())
        for level, bone in bones.items()
    }
    if not inside or not max(inside.values()):
        raise ValueError("it does not pass through a planned vertebra")
    return max(inside, key=inside.__getitem__)
