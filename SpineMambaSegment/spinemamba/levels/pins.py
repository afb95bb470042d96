"""Levels that a person is sure of: "L5 is here"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.common.errors import UserError

FARTHEST_MM = 40.0
"""A place further from every vertebra's centre than this points at none."""

NUMBER = re.compile(r"([A-Za-z0-9]+)#(\d+)")
PLACE = re.compile(r"([A-Za-z0-9]+)@([^,]+),([^,]+),([^,]+)")
HOW = "Write L5@x,y,z with a place in LPS millimetres, or L5#3 for the third row of the table."


class Placed(Protocol):
    """A vertebra: `Instance` or `InstanceResult`."""

    @property
    def id(self) -> int:
        """Its number."""

    @property
    def centroid_lps_mm(self) -> tuple[float, float, float]:
        """Its centre."""


@dataclass(frozen=True)
class Pin:
    """A level, and the vertebra that has it: by its number, or by a place in LPS millimetres."""

    name: str
    number: int | None = None
    place_lps_mm: tuple[float, float, float] | None = None


def parse_pin(text: str) -> Pin:
    """Return the pin that a text such as ``L5@12.5,-30,104`` or ``L5#3`` means.

    Raises:
        UserError: If it is none.
    """
    if found := NUMBER.fullmatch(text):
        return Pin(_level(found[1]), number=int(found[2]))
    try:
        found = PLACE.fullmatch(text)
        x, y, z = (float(found[k]) for k in (2, 3, 4)) if found else ()
    except ValueError:
        raise UserError(f"{text!r} is no pin.", HOW) from None
    if not all(map(math.isfinite, (x, y, z))):
        raise UserError(f"{text!r} is no pin.", HOW)
    return Pin(_level(found[1]), place_lps_mm=(x, y, z))


def _level(text: str) -> str:
    for name in BY_NAME:
        if name.lower() == text.lower() and name != "Coccyx":
            return name
    raise UserError(f"{text!r} is no level.", "Use C1 to L6, T13 or Sacrum.")


def match_pins(pins: Sequence[Pin], instances: Sequence[Placed]) -> Mapping[int, str]:
    """Return the level of each pinned vertebra by its number.

    Raises:
        UserError: If a pin points at no vertebra, or two at the same.
    """
    matched: dict[int, str] = {}
    for pin in pins:
        number = _number(pin, instances)
        if matched.setdefault(number, pin.name) != pin.name:
            raise UserError(
                f"Vertebra {number} is pinned as {matched[number]} and as {pin.name}.",
                "Keep one of the two pins.",
            )
    return matched


def _number(pin: Pin, instances: Sequence[Placed]) -> int:
    numbers = [instance.id for instance in instances]
    if pin.place_lps_mm is None:
        if pin.number not in numbers:
            raise UserError(f"There is no vertebra {pin.number}.", f"Choose one of {numbers}.")
        return pin.number
    centres = np.array([instance.centroid_lps_mm for instance in instances]).reshape(-1, 3)
    gaps_mm = np.linalg.norm(centres - np.array(pin.place_lps_mm), axis=1)
    if not len(gaps_mm) or gaps_mm.min() > FARTHEST_MM:
        x, y, z = pin.place_lps_mm
        raise UserError(
            f"No vertebra is near {x:g}, {y:g}, {z:g}, where {pin.name} is pinned.",
            "Give the centre of a vertebra in LPS millimetres; result.json lists them.",
        )
    return numbers[int(gaps_mm.argmin())]
