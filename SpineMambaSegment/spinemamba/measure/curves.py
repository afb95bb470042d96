"""Angles of endplates in the patient's planes, and the curves that they make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from spinemamba.protocol.quantities import COBB_LEAST_DEG

TURN_DEG = 5.0
"""A turn of the tilts by less than this is noise and ends no curve."""

LEAST_LEVELS = 3
"""Two neighbours alone are a wedge, no curve."""


@dataclass(frozen=True)
class Tilt:
    """How an endplate is tilted.

    Attributes:
        name: Level.
        sign: 1 for its upper endplate, -1 for its lower one.
        deg: Angle in the view.
    """

    name: str
    sign: int
    deg: float


@dataclass(frozen=True)
class Curve:
    """Two endplates between which the spine bends one way.

    Attributes:
        upper: Endplate at its upper end.
        lower: Endplate at its lower end.
        deg: Tilt of the lower one minus tilt of the upper one.
    """

    upper: Tilt
    lower: Tilt

    @property
    def deg(self) -> float:
        """By how much the tilt grows from the upper to the lower end."""
        return self.lower.deg - self.upper.deg


def difference_deg(one: float, other: float) -> float:
    """Return one angle minus another, within -180 and 180 degrees."""
    return (one - other + 180.0) % 360.0 - 180.0


def sagittal_deg(normal_lps: np.ndarray) -> float:
    """Return how an endplate is tilted in the sagittal plane; positive if its normal tends back."""
    return math.degrees(math.atan2(normal_lps[1], normal_lps[2]))


def coronal_deg(normal_lps: np.ndarray) -> float:
    """Return how an endplate is tilted in the coronal plane; positive if its normal points left."""
    return math.degrees(math.atan2(normal_lps[0], normal_lps[2]))


def find_curves(tilts: Sequence[Tilt], least_deg: float = COBB_LEAST_DEG) -> list[Curve]:
    """Return the curves from head to tail: between one turn of the tilts and the next.

    A vertebra's tilt is the mean of its endplates'. A curve begins with the upper endplate and ends
    with the lower endplate of an end vertebra, as Cobb's method has it, the most tilted ones within
    the bend. Neighbouring curves share an end vertebra.

    Args:
        tilts: Of all endplates that are known, from head to tail.
        least_deg: Smaller curves are left out, and so are those of fewer than `LEAST_LEVELS`.
    """
    tilts = _continuous(tilts)
    names = list(dict.fromkeys(tilt.name for tilt in tilts))
    means = [_mean(tilts, name) for name in names]
    found = []
    turns = _turns(means)
    for first, last in pairwise(turns):
        way = math.copysign(1, means[last] - means[first])
        inside = names[first : last + 1]
        uppers = [t for t in tilts if t.name in inside and t.sign == 1]
        lowers = [t for t in tilts if t.name in inside and t.sign == -1]
        if not uppers or not lowers:
            continue
        upper = min(uppers, key=lambda tilt: way * tilt.deg)
        lower = max(lowers, key=lambda tilt: way * tilt.deg)
        curve = Curve(upper, lower)
        levels = names.index(lower.name) - names.index(upper.name) + 1
        if levels >= LEAST_LEVELS and abs(curve.deg) >= least_deg:
            found.append(curve)
    return found


def _continuous(tilts: Sequence[Tilt]) -> list[Tilt]:
    """Return tilts without jumps of a whole turn from one to the next."""
    out: list[Tilt] = []
    for tilt in tilts:
        last = out[-1].deg if out else tilt.deg
        out.append(replace(tilt, deg=last + difference_deg(tilt.deg, last)))
    return out


def _mean(tilts: Sequence[Tilt], name: str) -> float:
    own = [tilt.deg for tilt in tilts if tilt.name == name]
    return sum(own) / len(own)


def _turns(degrees: Sequence[float]) -> list[int]:
    """Return where a line turns by more than `TURN_DEG`, with its ends; ascending."""
    if len(degrees) < 2:
        return []
    turns = [0]
    low = high = 0
    way = 0
    for k, value in enumerate(degrees):
        low, high = (k if value < degrees[low] else low), (k if value > degrees[high] else high)
        if way >= 0 and degrees[high] - value > TURN_DEG:
            turns.append(high)
            way, low = -1, k
        elif way <= 0 and value - degrees[low] > TURN_DEG:
            turns.append(low)
            way, high = 1, k
    turns.append(high if way >= 0 else low)
    return sorted(set(turns))
