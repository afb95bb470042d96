"""Pins: levels fixed by the user, such as "L5 is here"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.common.errors import UserError

_FARTHEST_MM = 40.0
"""Greatest distance between a pin and the centroid of its vertebra."""

_NUMBER = re.compile(r"([A-Za-z0-9]+)#(\d+)")
_POSITION = re.compile(r"([A-Za-z0-9]+)@([^,]+),([^,]+),([^,]+)")
_FORMAT = "Write L5@x,y,z with a position in LPS millimetres, or L5#3 for vertebra 3 of the table."


class _Vertebra(Protocol):
    """A vertebra with number and centroid: `Instance` or `InstanceResult`."""

    @property
    def id(self) -> int:
        """Number of the vertebra."""

    @property
    def centroid_lps_mm(self) -> tuple[float, float, float]:
        """Centroid of the vertebra, LPS in mm."""


@dataclass(frozen=True)
class Pin:
    """A level fixed by the user.

    Attributes:
        name: Level.
        number: Number of the vertebra, or None if it is given by a position.
        place_lps_mm: Position near the vertebra, LPS in mm, or None.
    """

    name: str
    number: int | None = None
    place_lps_mm: tuple[float, float, float] | None = None


def parse_pin(text: str) -> Pin:
    """Return the pin of a text such as ``L5@12.5,-30,104`` or ``L5#3``.

    Raises:
        UserError: If the text has another form, or names an unknown level.
    """
    if match := _NUMBER.fullmatch(text):
        return Pin(_level(match[1]), number=int(match[2]))
    try:
        match = _POSITION.fullmatch(text)
        x, y, z = (float(match[k]) for k in (2, 3, 4)) if match else ()
    except ValueError:
        raise UserError(f"{text!r} is not a pin.", _FORMAT) from None
    if not all(map(math.isfinite, (x, y, z))):
        raise UserError(f"{text!r} is not a pin.", _FORMAT)
    return Pin(_level(match[1]), place_lps_mm=(x, y, z))


def _level(text: str) -> str:
    for name in BY_NAME:
        if name.lower() == text.lower() and name != "Coccyx":
            return name
    raise UserError(f"{text!r} is not a level.", "Use C1 to L6, T13 or Sacrum.")


def match_pins(pins: Sequence[Pin], instances: Sequence[_Vertebra]) -> Mapping[int, str]:
    """Return the level of each pinned vertebra by its number.

    Raises:
        UserError: If there is no vertebra at a pin, or one vertebra has two different pins.
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


def _number(pin: Pin, instances: Sequence[_Vertebra]) -> int:
    numbers = [instance.id for instance in instances]
    if pin.place_lps_mm is None:
        if pin.number not in numbers:
            raise UserError(f"There is no vertebra {pin.number}.", f"Choose one of {numbers}.")
        return pin.number
    centres = np.array([instance.centroid_lps_mm for instance in instances]).reshape(-1, 3)
    gaps_mm = np.linalg.norm(centres - np.array(pin.place_lps_mm), axis=1)
    if not len(gaps_mm) or gaps_mm.min() > _FARTHEST_MM:
        x, y, z = pin.place_lps_mm
        raise UserError(
            f"No vertebra is near {x:g}, {y:g}, {z:g}, where {pin.name} is pinned.",
            "Give the centre of a vertebra in LPS millimetres; result.json lists them.",
        )
    return numbers[int(gaps_mm.argmin())]
