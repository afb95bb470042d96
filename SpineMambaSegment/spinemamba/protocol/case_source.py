"""What tells the input of an export from another one of the same case name. Standard library only.

A case name made safe for file systems is no identity: "a b" and "a_b" become one, and two patients
may have files of one name. The manifest therefore keeps a hash of the name as it was given, and
where the vertebrae lie.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spinemamba.common.atomic_files import sha256

SAME_PLACE_MM = 5.0
"""Corrected labels of a vertebra lie no further apart; neighbouring vertebrae do."""

SAME_VOLUME = 1.5
"""Nor do their volumes differ by more than this factor."""


@dataclass(frozen=True)
class Located:
    """Where the labels of a vertebra lie.

    Attributes:
        centre_lps_mm: Their centre in the image, without transforms of a scene.
        volume_ml: Their volume.
    """

    centre_lps_mm: tuple[float, float, float]
    volume_ml: float

    def distance_mm(self, other: Located) -> float:
        """Return how far the centres are from each other."""
        return math.dist(self.centre_lps_mm, other.centre_lps_mm)

    def matches(self, other: Located) -> bool:
        """Return whether both may be the same vertebra, one of them corrected."""
        small, large = sorted((self.volume_ml, other.volume_ml))
        return self.distance_mm(other) <= SAME_PLACE_MM and large <= SAME_VOLUME * small


@dataclass(frozen=True)
class CaseSource:
    """What an export is made of.

    Attributes:
        name_sha256: Of the name of the case before it was made safe for file systems.
        vertebrae: By level, all that the labels hold, also those that are not exported.
    """

    name_sha256: str
    vertebrae: Mapping[str, Located] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, vertebrae: Mapping[str, Located]) -> CaseSource:
        """Return the source of a case by the name that the user or the input gave it."""
        data = unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")
        return cls(sha256(data), dict(vertebrae))

    @classmethod
    def from_json(cls, values: dict[str, Any] | None) -> CaseSource | None:
        """Return the source in a dictionary; None as it is.

        Raises:
            TypeError: If something is missing or unknown.
        """
        if values is None:
            return None
        vertebrae = {
            level: Located(tuple(place["centre_lps_mm"]), place["volume_ml"])
            for level, place in values["vertebrae"].items()
        }
        return cls(values["name_sha256"], vertebrae)

    def difference(self, other: CaseSource) -> str:
        """Return why another source is not of the same labels, as a clause; empty if it may be.

        Where the vertebrae of one are not known, the name decides.
        """
        if self.name_sha256 != other.name_sha256:
            return "its name was written differently"
        if not self.vertebrae or not other.vertebrae:
            return ""
        common = [level for level in self.vertebrae if level in other.vertebrae]
        if not common:
            return "the labels have no level in common"
        moved = [x for x in common if not self.vertebrae[x].matches(other.vertebrae[x])]
        # Corrections change some vertebrae; more than half are others.
        if 2 * len(moved) <= len(common):
            return ""
        one, two = self.vertebrae[moved[0]], other.vertebrae[moved[0]]
        return (
            f"{moved[0]} there has {one.volume_ml:.2f} mL, here {two.volume_ml:.2f} mL, "
            f"{one.distance_mm(two):.0f} mm away"
        )
