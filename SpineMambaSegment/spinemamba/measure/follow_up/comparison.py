"""Compare two sets of measurements of one spine, with regard to their uncertainties."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spinemamba.anatomy.labels import ORDER
from spinemamba.protocol.measurements import Item, Measurements
from spinemamba.protocol.quantities import BY_KEY, Quantity

_LEAST_OVERLAP = 0.5
"""Share of the levels that two curves must have in common to be the same curve."""


@dataclass(frozen=True)
class Difference:
    """A quantity in two sets of measurements.

    Attributes:
        kind: Kind of the item.
        name: Name of the item in the second set.
        view: View of angles and curves.
        key: Key of the quantity.
        before: Value in the first set.
        after: Value in the second set.
        uncertainty: Uncertainty of the difference, for a coverage of about 95 %; 0 if a set has no
            uncertainties.
    """

    kind: str
    name: str
    view: str
    key: str
    before: float
    after: float
    uncertainty: float

    @property
    def change(self) -> float:
        """Second value minus first value; of an angle, wrapped to -180 to 180 degrees."""
        change = self.after - self.before
        return (change + 180.0) % 360.0 - 180.0 if self.quantity.unit == "deg" else change

    @property
    def quantity(self) -> Quantity:
        """Definition of the quantity."""
        return BY_KEY[self.key]

    @property
    def is_beyond(self) -> bool:
        """Whether the change is larger than its uncertainty."""
        return abs(self.change) > self.uncertainty


def differences(before: Measurements, after: Measurements) -> Iterator[Difference]:
    """Yield every quantity that both sets have, in the order of the second set.

    Vertebrae, discs and angles are matched by name; curves by view, direction and levels, because
    an end vertebra may differ by one.
    """
    first = {(item.kind, item.name, item.view): item for item in before.items}
    for item in after.items:
        if item.kind == "curve":
            other = _same_curve(item, before.of("curve"))
        else:
            other = first.get((item.kind, item.name, item.view))
        if other is not None:
            yield from _of_items(other, item)


def _of_items(before: Item, after: Item) -> Iterator[Difference]:
    for key, value in after.values.items():
        old = before.values.get(key)
        if value is None or old is None or key not in BY_KEY:
            continue
        widths = [item.uncertainties.get(key, 0.0) for item in (before, after)]
        place = (after.kind, after.name, after.view, key)
        yield Difference(*place, old, value, math.hypot(*widths))


def _same_curve(curve: Item, others: Sequence[Item]) -> Item | None:
    """Return the curve with the most levels in common, of the same view and direction."""
    best, most = None, _LEAST_OVERLAP
    levels = _levels(curve)
    for other in others:
        if other.view != curve.view or other.words.get("what") != curve.words.get("what"):
            continue
        found = _levels(other)
        share = len(levels & found) / len(levels | found)
        if share >= most:
            best, most = other, share
    return best


def _levels(curve: Item) -> set[int]:
    """Return the ranks of the levels of a curve."""
    first, last = (ORDER["Sacrum" if end == "S1" else end] for end in curve.name.split("-"))
    return set(range(first, last + 1))
