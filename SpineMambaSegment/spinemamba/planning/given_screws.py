"""Test given screws: lines of the user, and metal in the image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from spinemamba.planning.breach import Shaft, shaft_between, tested
from spinemamba.planning.plan_spine import PlannedSpine, PlannedVertebra, turned
from spinemamba.protocol.planning.markups import ScrewLine
from spinemamba.protocol.planning.plan import SIDES, Corridor, Plan

_STEP_MM = 0.5
_USUAL_MM = {"C": 3.5, "T": 5.0, "L": 6.0}
"""Diameter of a line without one, by region."""


def with_lines(planned: PlannedSpine, lines: Iterable[ScrewLine]) -> Plan:
    """Return the plan with tests of the user's lines, in the header's coordinates."""
    tests: dict[tuple[str, str], list[Corridor]] = {}
    notes = []
    for line in lines:
        where = tested_line(planned, line)
        if isinstance(where, str):
            notes.append(f"{line.name or 'A line'} was not tested: {where}.")
            continue
        level, side, corridor = where
        tests.setdefault((level, side), []).append(corridor)
    return with_tests(planned, tests, notes)


def tested_line(planned: PlannedSpine, line: ScrewLine) -> tuple[str, str, Corridor] | str:
    """Return level, side and test of a line in the header's coordinates, or why there is none."""
    turn = planned.turn
    entry, tip = (turn @ np.asarray(p) for p in (line.entry_lps_mm, line.tip_lps_mm))
    vertebra = vertebra_at(planned.vertebrae, entry, tip)
    if vertebra is None:
        return "it does not pass through a planned vertebra"
    bone = vertebra.bone
    start, end = (bone.field.frame.to_local(p) for p in (entry, tip))
    level = vertebra.vertebra.name
    diameter = line.diameter_mm or _USUAL_MM[level[0]]
    try:
        shaft = shaft_between(bone, start, end, diameter)
    except ValueError as error:
        return str(error)
    side = side_of(shaft)
    return level, side, tested(bone, shaft, "edited", 1.0 if side == SIDES[0] else -1.0)


def side_of(shaft: Shaft) -> str:
    """Return the side of the isthmus of a shaft."""
    return SIDES[0] if shaft.line.point_mm[0] > 0 else SIDES[1]


def vertebra_at(
    vertebrae: Iterable[PlannedVertebra], entry: np.ndarray, tip: np.ndarray
) -> PlannedVertebra | None:
    """Return the vertebra that contains most of a line; None if there is none."""
    count = max(2, round(float(np.linalg.norm(tip - entry)) / _STEP_MM))
    points = entry + np.linspace(0, 1, count)[:, None] * (tip - entry)
    best, most = None, 0
    for one in vertebrae:
        if one.bone is None:
            continue
        inside = int((one.bone.field.at(one.bone.field.frame.to_local(points)) > 0).sum())
        if inside > most:
            best, most = one, inside
    return best


def with_tests(
    planned: PlannedSpine, tests: dict[tuple[str, str], list[Corridor]], notes: list[str]
) -> Plan:
    """Return the plan with tested screws, which are in the standing spine's coordinates."""
    back = planned.turn.T
    pedicles = []
    for pedicle in planned.plan.pedicles:
        mine = tests.get((pedicle.level, pedicle.side), [])
        added = turned(replace(pedicle, suggestion=None, screws=tuple(mine)), back).screws
        pedicles.append(replace(pedicle, screws=(*pedicle.screws, *added)))
    return replace(planned.plan, pedicles=tuple(pedicles), notes=(*planned.plan.notes, *notes))
