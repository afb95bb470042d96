"""Suggest a screw corridor: the widest straight way through a pedicle, and a screw that fits."""

from __future__ import annotations

import numpy as np

from spinemamba.measure.frame import unit
from spinemamba.parts.sections import Line, Tube
from spinemamba.planning.breach import Bone, Shaft, tested
from spinemamba.protocol.planning.plan import Corridor
from spinemamba.protocol.planning.screws import Screw, ScrewTable

_BEHIND_MM = 5.0
_STEP_MM = 1.0
_TURNS_DEG = ((-16.0, 16.0, 4.0), (-3.0, 3.0, 1.0))
_SHIFTS_MM = ((-2.0, 2.0, 1.0), (-0.6, 0.6, 0.3))
"""Ranges and steps of the search around the axis, coarse and fine."""

_PER_DEG2 = 0.004
"""Margin in mm that a turn of one degree from the axis must gain: 10 degrees need 0.4 mm."""

_ENOUGH_MM = 4.5
"""Half of the thickest screw with its margin: wider ways are not better."""

_FRONT = -0.25
"""The way is tested to this share of the half depth of the body."""

NARROW = "too narrow: {what}"


def suggest(
    bone: Bone, tube: Tube, side: float, level: str, table: ScrewTable
) -> tuple[Corridor | None, str]:
    """Return the suggested corridor, and the reason if there is none.

    Args:
        bone: The vertebra.
        tube: Its pedicle.
        side: 1 left, -1 right.
        level: Level of the vertebra, for the screws of its region.
        table: Screws and rules.
    """
    screws = table.of(level)
    if not screws:
        return None, "the table has no screw for this region"
    if bone.canal is None:
        return None, "the canal is not enclosed by the label"
    line = _widest(bone, tube, table)
    try:
        entry, front = bone.chord(line)
    except ValueError:
        return None, NARROW.format(what="no straight way through the pedicle stays in bone")
    reach = min(entry + table.depth_share * (front - entry), front - table.anterior_margin_mm)
    best = ""
    for screw in screws:
        if entry + screw.length_mm > reach:
            continue
        shaft = Shaft(line, entry, entry + screw.length_mm, screw.diameter_mm)
        corridor = tested(bone, shaft, "suggested", side)
        if _fits(corridor, table):
            return corridor, ""
        best = _why(corridor, screw, table)
    least = min(screw.length_mm for screw in screws)
    if not best:
        return None, f"the way through bone is too short for the shortest screw ({least:g} mm)"
    return None, NARROW.format(what=best)


def _fits(corridor: Corridor, table: ScrewTable) -> bool:
    return (
        corridor.cortex_margin_mm >= table.cortex_margin_mm
        and corridor.in_canal_mm == 0
        and corridor.canal_margin_mm is not None
        and corridor.canal_margin_mm >= table.canal_margin_mm
    )


def _why(corridor: Corridor, screw: Screw, table: ScrewTable) -> str:
    """Return which margin a screw would not keep."""
    size = f"a screw of {screw.diameter_mm:g} x {screw.length_mm:g} mm would"
    if corridor.cortex_margin_mm <= 0:
        return f"{size} reach the cortex"
    if corridor.cortex_margin_mm < table.cortex_margin_mm:
        return f"{size} leave only {corridor.cortex_margin_mm:.1f} mm to the cortex"
    return f"{size} leave only {corridor.canal_margin_mm or 0:.1f} mm to the canal"


def _widest(bone: Bone, tube: Tube, table: ScrewTable) -> Line:
    """Return the line near the axis with the largest least distance to cortex and canal."""
    best = tube.line
    for turns, shifts in zip(_TURNS_DEG, _SHIFTS_MM, strict=True):
        angles = np.radians(np.arange(turns[0], turns[1] + 1e-6, turns[2]))
        moves = np.arange(shifts[0], shifts[1] + 1e-6, shifts[2])
        grid = np.stack(np.meshgrid(angles, angles, moves, moves, indexing="ij"), -1)
        tries = [_varied(best, values) for values in grid.reshape(-1, 4)]
        best = tries[int(np.argmax(_scores(bone, tube, tries, table)))]
    return best


def _varied(line: Line, values: np.ndarray) -> Line:
    left, up = line.across()
    forward = unit(line.forward + np.tan(values[0]) * left + np.tan(values[1]) * up)
    return Line(line.point_mm + values[2] * left + values[3] * up, forward)


def _scores(bone: Bone, tube: Tube, tries: list[Line], table: ScrewTable) -> np.ndarray:
    """Return the least distance to cortex and canal of each line, less the cost of its turn."""
    points = np.array([line.point_mm for line in tries])
    forward = np.array([line.forward for line in tries])
    front = _FRONT * bone.half_depth_mm
    reach = max(6.0, float((tube.line.point_mm[1] - front) / max(-tube.line.forward[1], 0.3)))
    along = np.arange(-_BEHIND_MM, reach, _STEP_MM)
    ways = points[:, None] + along[:, None] * forward[:, None]
    margin = bone.field.at(ways).min(axis=1) - table.cortex_margin_mm
    # Behind the pedicle a screw may leave the bone, but never towards the canal.
    longer = np.arange(-4 * _BEHIND_MM, reach, 2 * _STEP_MM)
    whole = points[:, None] + longer[:, None] * forward[:, None]
    if bone.canal is not None:
        away = -bone.canal.depth_mm(whole).max(axis=1) - table.canal_margin_mm
        margin = np.minimum(margin, away)
    cosine = np.clip(forward @ tube.line.forward, -1, 1)
    turn = np.degrees(np.arccos(cosine))
    return np.minimum(margin, _ENOUGH_MM) - _PER_DEG2 * turn**2
