"""Tilts of endplates in the patient's planes, and curves by Cobb's method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from spinemamba.protocol.quantities import COBB_LEAST_DEG

_TURN_DEG = 5.0
"""Smallest reversal of the tilts that ends a curve; smaller ones are noise."""

_LEAST_LEVELS = 3
"""Smallest number of levels of a curve; two neighbours are only a wedge."""


@dataclass(frozen=True)
class Tilt:
    """Tilt of an endplate in a view.

    Attributes:
        name: Level.
        sign: 1 for the upper endplate, -1 for the lower one.
        deg: Angle in degrees.
    """

    name: str
    sign: int
    deg: float


@dataclass(frozen=True)
class Curve:
    """A part of the spine that bends to one side.

    Attributes:
        upper: Endplate at the upper end.
        lower: Endplate at the lower end.
    """

    upper: Tilt
    lower: Tilt

    @property
    def deg(self) -> float:
        """Tilt of the lower endplate minus tilt of the upper endplate."""
        return self.lower.deg - self.upper.deg


def difference_deg(one: float, other: float) -> float:
    """Return the difference of two angles, wrapped to -180 to 180 degrees."""
    return (one - other + 180.0) % 360.0 - 180.0


def sagittal_deg(normal_lps: np.ndarray) -> float:
    """Return the sagittal tilt of an endplate; positive if its normal points posteriorly."""
    return math.degrees(math.atan2(normal_lps[1], normal_lps[2]))


def coronal_deg(normal_lps: np.ndarray) -> float:
    """Return the coronal tilt of an endplate; positive if its normal points to the left."""
    return math.degrees(math.atan2(normal_lps[0], normal_lps[2]))


def find_curves(tilts: Sequence[Tilt], least_deg: float = COBB_LEAST_DEG) -> list[Curve]:
    """Return the curves from top to bottom, each between two reversals of the tilts.

    The tilt of a vertebra is the mean of its endplates' tilts. As in Cobb's method, a curve extends
    from the upper endplate of one end vertebra to the lower endplate of the other, the most tilted
    endplates of the curve. Neighbouring curves share an end vertebra.

    Args:
        tilts: Tilts of all known endplates, from top to bottom.
        least_deg: Smallest angle of a curve. Curves of fewer than `_LEAST_LEVELS` are left out.
    """
    tilts = _continuous(tilts)
    names = list(dict.fromkeys(tilt.name for tilt in tilts))
    means = [_mean(tilts, name) for name in names]
    curves = []
    turns = _turns(means)
    for first, last in pairwise(turns):
        direction = math.copysign(1, means[last] - means[first])
        inside = names[first : last + 1]
        uppers = [t for t in tilts if t.name in inside and t.sign == 1]
        lowers = [t for t in tilts if t.name in inside and t.sign == -1]
        if not uppers or not lowers:
            continue
        upper = min(uppers, key=lambda tilt: direction * tilt.deg)
        lower = max(lowers, key=lambda tilt: direction * tilt.deg)
        curve = Curve(upper, lower)
        levels = names.index(lower.name) - names.index(upper.name) + 1
        if levels >= _LEAST_LEVELS and abs(curve.deg) >= least_deg:
            curves.append(curve)
    return curves


def _continuous(tilts: Sequence[Tilt]) -> list[Tilt]:
    """Return unwrapped tilts, without jumps of 360 degrees."""
    out: list[Tilt] = []
    for tilt in tilts:
        last = out[-1].deg if out else tilt.deg
        out.append(replace(tilt, deg=last + difference_deg(tilt.deg, last)))
    return out


def _mean(tilts: Sequence[Tilt], name: str) -> float:
    degrees = [tilt.deg for tilt in tilts if tilt.name == name]
    return sum(degrees) / len(degrees)


def _turns(degrees: Sequence[float]) -> list[int]:
    """Return the indices of reversals larger than `_TURN_DEG`, and of both ends, ascending."""
    if len(degrees) < 2:
        return []
    turns = [0]
    low = high = 0
    direction = 0
    for k, value in enumerate(degrees):
        low, high = (k if value < degrees[low] else low), (k if value > degrees[high] else high)
        if direction >= 0 and degrees[high] - value > _TURN_DEG:
            turns.append(high)
            direction, low = -1, k
        elif direction <= 0 and value - degrees[low] > _TURN_DEG:
            turns.append(low)
            direction, high = 1, k
    turns.append(high if direction >= 0 else low)
    return sorted(set(turns))
