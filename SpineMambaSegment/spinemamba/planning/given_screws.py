"""Add tests of given screws to a plan: lines of the user, and metal in the image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from spinemamba.planning.breach import tested
from spinemamba.planning.line_assessment import assess_line, side_of
from spinemamba.planning.metal import find_shafts
from spinemamba.planning.plan_spine import PlannedSpine, turned
from spinemamba.protocol.planning.markups import ScrewLine
from spinemamba.protocol.planning.plan import SIDES, Corridor, Plan

_Tests = dict[tuple[str, str], list[Corridor]]


def with_lines(planned: PlannedSpine, lines: Iterable[ScrewLine]) -> Plan:
    """Return the plan with tests of the user's lines."""
    tests: _Tests = {}
    notes = []
    for line in lines:
        try:
            level, side, corridor = assess_line(planned.bones, planned.turn, line)
        except ValueError as error:
            notes.append(f"{line.name or 'A line'} was not tested: {error}.")
            continue
        tests.setdefault((level, side), []).append(corridor)
    return _with_tests(planned, tests, notes)


def with_metal(planned: PlannedSpine) -> Plan:
    """Return the plan with tests of the screws in the CT; unchanged without a CT."""
    tests: _Tests = {}
    if planned.spine.ct is not None:
        for level, bone in planned.bones.items():
            for shaft in find_shafts(planned.spine.ct, bone).values():
                side = side_of(shaft)
                sign = 1.0 if side == SIDES[0] else -1.0
                found = tested(bone, shaft, "image", sign)
                tests.setdefault((level, side), []).append(found)
    return _with_tests(planned, tests, [])


def _with_tests(planned: PlannedSpine, tests: _Tests, notes: list[str]) -> Plan:
    """Return the plan with tested screws, which are in the standing spine's coordinates."""
    back = planned.turn.T
    pedicles = []
    for pedicle in planned.plan.pedicles:
        mine = tests.get((pedicle.level, pedicle.side), [])
        added = turned(replace(pedicle, suggestion=None, screws=tuple(mine)), back).screws
        pedicles.append(replace(pedicle, screws=(*pedicle.screws, *added)))
    return replace(planned.plan, pedicles=tuple(pedicles), notes=(*planned.plan.notes, *notes))
