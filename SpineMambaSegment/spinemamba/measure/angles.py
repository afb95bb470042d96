"""Items for angles between given levels, and for detected curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.labels import LABELS
from spinemamba.measure.curves import (
    Curve,
    Tilt,
    coronal_deg,
    difference_deg,
    find_curves,
    sagittal_deg,
)
from spinemamba.measure.stance import Stance
from spinemamba.measure.vertebra import SIDES, Vertebra, plate_of
from spinemamba.protocol.measurements import Item

_OPTIONAL = ("T13", "L6")
"""Levels that most people lack: their neighbours are adjacent."""

_S1 = "Sacrum"

_OPEN = (
    "The {} curve {} is not given: the image cuts the next vertebra, so that the end of the curve "
    "may lie outside."
)


@dataclass(frozen=True)
class _Region:
    """A regional angle between two endplates, each given by level and sign (1 upper, -1 lower)."""

    name: str
    upper: tuple[str, int]
    lower: tuple[str, int]


_REGIONS = (
    _Region("C2-C7", ("C2", -1), ("C7", -1)),
    _Region("T4-T12", ("T4", 1), ("T12", -1)),
    _Region("T12-S1", ("T12", 1), (_S1, 1)),
    _Region("L1-S1", ("L1", 1), (_S1, 1)),
    _Region("L1-L5", ("L1", 1), ("L5", -1)),
)


def adjacent(upper: str, lower: str) -> bool:
    """Return whether no level is missing between two levels."""
    names = [label.name for label in LABELS]
    between = names[names.index(upper) + 1 : names.index(lower)]
    return set(between) <= set(_OPTIONAL)


def angle_items(vertebrae: Sequence[Vertebra], stance: Stance) -> Iterable[Item]:
    """Yield the regional angles; missing ones carry a reason."""
    by_name = {vertebra.name: vertebra for vertebra in vertebrae}
    for region in _REGIONS:
        ends = (region.upper, region.lower)
        words = {"between": _between(*ends)}
        missing = [why for end in ends if (why := _why_not(by_name, *end))]
        if reason := "; ".join(missing) or stance.why_no_angle(region.upper[0], region.lower[0]):
            values, reasons = {"angle_deg": None}, {"angle_deg": reason}
            yield Item("angle", region.name, values, reasons, words, view="sagittal")
            continue
        upper, lower = (by_name[name].body.plates[sign].normal_lps for name, sign in ends)
        angle = difference_deg(sagittal_deg(upper), sagittal_deg(lower))
        words["what"] = _bend(angle)
        plates = _plates(by_name, ends)
        yield Item(
            "angle", region.name, {"angle_deg": angle}, words=words, view="sagittal", plates=plates
        )


@dataclass(frozen=True)
class SpineCurve:
    """A curve in a view.

    Attributes:
        view: "coronal" or "sagittal".
        curve: Its end vertebrae and their tilts.
        apex: Level with the largest distance from the line between the ends.
    """

    view: str
    curve: Curve
    apex: str


_VIEWS = {"coronal": (coronal_deg, 0), "sagittal": (sagittal_deg, 1)}
"""Tilt of an endplate and axis of LPS in each view."""


def spine_curves(
    vertebrae: Sequence[Vertebra], stance: Stance
) -> tuple[list[SpineCurve], list[str]]:
    """Return the curves from top to bottom, first the coronal ones, and notes on missing ones.

    Finds nothing if the levels are not in order; the notes of the stance give the reason. Cut
    vertebrae are not used. A curve whose end vertebra is the last one before a cut vertebra is
    left out, because a more tilted vertebra may lie outside.
    """
    curves: list[SpineCurve] = []
    notes: list[str] = []
    if stance.doubtful:
        return curves, notes
    whole = [v for v in vertebrae if not v.cut_sides or v.name == _S1]
    open_ends = _beside_a_cut(vertebrae, whole)
    for view, (tilt_of, axis) in _VIEWS.items():
        for curve in find_curves(_tilts(whole, tilt_of)):
            if open_ends & {curve.upper.name, curve.lower.name}:
                names = f"{_short(curve.upper.name)}-{_short(curve.lower.name)}"
                notes.append(_OPEN.format(view, names))
            else:
                curves.append(SpineCurve(view, curve, _apex(vertebrae, curve, axis)))
    return curves, notes


def _beside_a_cut(vertebrae: Sequence[Vertebra], whole: Sequence[Vertebra]) -> set[str]:
    """Return the first and the last whole vertebra, where a cut one lies beyond it."""
    known = [v.name for v in whole if v.body is not None and v.body.plates]
    if not known:
        return set()
    names = [v.name for v in vertebrae]
    above, below = names[: names.index(known[0])], names[names.index(known[-1]) + 1 :]
    cut = {v.name for v in vertebrae if v.cut_sides}
    ends = set()
    if cut & set(above):
        ends.add(known[0])
    if cut & set(below) - {_S1, "Coccyx"}:
        ends.add(known[-1])
    return ends


def curve_items(
    vertebrae: Sequence[Vertebra], curves: Sequence[SpineCurve], stance: Stance
) -> Iterable[Item]:
    """Yield the angles of curves, between their end vertebrae."""
    by_name = {vertebra.name: vertebra for vertebra in vertebrae}
    for found in curves:
        ends = tuple((end.name, end.sign) for end in (found.curve.upper, found.curve.lower))
        if not all(by_name[name].has(sign) for name, sign in ends):
            continue
        tilt_of, _ = _VIEWS[found.view]
        upper, lower = (tilt_of(by_name[n].body.plates[s].normal_lps) for n, s in ends)
        # The tilts of the found curve are unwrapped, the new ones are near them.
        off = [
            difference_deg(tilt, end.deg)
            for tilt, end in ((upper, found.curve.upper), (lower, found.curve.lower))
        ]
        bend = found.curve.deg + off[1] - off[0]
        words = {"between": _between(*ends), "apex": found.apex}
        if found.view == "coronal":
            angle = abs(bend)
            side = "right" if bend < 0 else "left"
            words["what"] = f"convex to the {side}" if stance.as_header else "side not known"
        else:
            angle = -bend
            words["what"] = _bend(angle)
        name = "-".join(_short(name) for name, _ in ends)
        plates = _plates(by_name, ends)
        yield Item("curve", name, {"cobb_deg": angle}, words=words, view=found.view, plates=plates)


def _tilts(vertebrae: Sequence[Vertebra], tilt_of: Callable[[np.ndarray], float]) -> list[Tilt]:
    return [
        Tilt(vertebra.name, sign, tilt_of(vertebra.body.plates[sign].normal_lps))
        for vertebra in vertebrae
        for sign in (1, -1)
        if vertebra.has(sign)
    ]


def _apex(vertebrae: Sequence[Vertebra], curve: Curve, axis: int) -> str:
    """Return the level with the largest distance from the line between the ends of a curve."""
    names = [vertebra.name for vertebra in vertebrae]
    inside = vertebrae[names.index(curve.upper.name) : names.index(curve.lower.name) + 1]
    inside = [vertebra for vertebra in inside if vertebra.body is not None]
    places = np.array([vertebra.body.frame.centre_lps_mm[[axis, 2]] for vertebra in inside])
    chord = places[-1] - places[0]
    aside = np.abs((places - places[0]) @ np.array([-chord[1], chord[0]]))
    return inside[int(np.argmax(aside))].name


def _why_not(by_name: dict[str, Vertebra], name: str, sign: int) -> str:
    if name not in by_name:
        return f"{_short(name)} is not in the labels"
    vertebra = by_name[name]
    return "" if vertebra.has(sign) else f"{_short(name)}: {vertebra.reason}"


def _plates(by_name: dict[str, Vertebra], ends: tuple[tuple[str, int], ...]) -> dict[str, object]:
    return {
        side: plate_of(by_name[name].body, sign)
        for side, (name, sign) in zip(SIDES.values(), ends, strict=True)
    }


def _between(upper: tuple[str, int], lower: tuple[str, int]) -> str:
    return " to ".join(f"{_short(name)} {SIDES[sign]}" for name, sign in (upper, lower))


def _short(name: str) -> str:
    return "S1" if name == _S1 else name


def _bend(angle_deg: float) -> str:
    return "lordosis" if angle_deg > 0 else "kyphosis"
