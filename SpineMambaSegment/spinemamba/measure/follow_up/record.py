"""follow_up.json: measurements of a patient then and now. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from spinemamba.common.json_schema import OPTIONAL, JsonFormat, Limits
from spinemamba.protocol.measurements import KINDS


@dataclass(frozen=True)
class Change:
    """A quantity in both results.

    Attributes:
        kind: Kind of the item, one of `measurements.KINDS`.
        name: Level, disc, angle or curve, as named in the second result.
        view: View of angles and curves; empty otherwise.
        quantity: Key of `quantities.QUANTITIES`.
        unit: Its unit.
        before: First value.
        after: Second value.
        change: Second minus first value.
        uncertainty: Uncertainty of the change, for a coverage of about 95 %.
        beyond: Whether the change is larger than its uncertainty.
    """

    kind: Annotated[str, Limits(choices=KINDS)]
    name: str
    view: str
    quantity: str
    unit: str
    before: float
    after: float
    change: float
    uncertainty: float
    beyond: bool


@dataclass(frozen=True)
class Match:
    """Rigid match of one vertebra.

    Attributes:
        level: Level, as named in the second result.
        before_level: Its name in the first result.
        residual_mm: Mean distance of both surfaces after the match; a fracture or an error of a
            label raises it.
        shift_mm: Displacement of the centre against the rest of the spine.
        turn_deg: Rotation against the rest of the spine.
        rotation: Rows of the rotation of the match, from LPS to LPS; empty if unknown.
        translation_mm: Its translation, after the rotation; empty if unknown.
    """

    level: str
    before_level: str
    residual_mm: float
    shift_mm: float
    turn_deg: float
    rotation: tuple[tuple[float, float, float], ...] = field(default=(), metadata=OPTIONAL)
    translation_mm: tuple[float, ...] = field(default=(), metadata=OPTIONAL)


@dataclass(frozen=True)
class FollowUp:
    """Two results of one patient, compared.

    Attributes:
        package_version: Version of this package.
        level_shift: Number of levels by which the names of the first result were moved.
        changes: All quantities that both results have.
        matches: Vertebrae that both results have, from top to bottom.
        alerts: Cautions above all numbers.
        notes: Remarks, as sentences.
    """

    package_version: str
    level_shift: int
    changes: tuple[Change, ...]
    matches: tuple[Match, ...]
    alerts: tuple[str, ...]
    notes: tuple[str, ...]


FOLLOW_UP = JsonFormat(FollowUp, "a follow-up", "Compare the results again.", version=1)
"""Format of follow_up.json."""
