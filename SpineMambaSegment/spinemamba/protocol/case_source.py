"""Identity of the input of an export. Standard library only.

A case name that was made safe for file systems does not identify a case: "a b" and "a_b" become
the same, and two patients may have files of the same name. The manifest therefore stores a hash of
the original name, and position and volume of every vertebra.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from spinemamba.common.atomic_files import sha256

SAME_PLACE_MM = 5.0
"""Largest distance between two versions of a vertebra; neighbouring vertebrae are farther apart."""

SAME_VOLUME = 1.5
"""Largest ratio of the volumes of two versions of a vertebra."""


@dataclass(frozen=True)
class Located:
    """Position and volume of the voxels of a vertebra.

    Attributes:
        centre_lps_mm: Centroid in the image, without transforms of Slicer's scene.
        volume_ml: Volume.
    """

    centre_lps_mm: tuple[float, float, float]
    volume_ml: float

    def distance_mm(self, other: Located) -> float:
        """Return the distance between the centroids."""
        return math.dist(self.centre_lps_mm, other.centre_lps_mm)

    def matches(self, other: Located) -> bool:
        """Return whether both may be the same vertebra, before and after a correction."""
        small, large = sorted((self.volume_ml, other.volume_ml))
        return self.distance_mm(other) <= SAME_PLACE_MM and large <= SAME_VOLUME * small


@dataclass(frozen=True)
class CaseSource:
    """The input of an export.

    Attributes:
        name_sha256: SHA-256 of the original name of the case.
        vertebrae: All vertebrae in the labels by level, including those that are not exported.
    """

    name_sha256: str
    vertebrae: Mapping[str, Located] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, vertebrae: Mapping[str, Located]) -> CaseSource:
        """Return the source of a case with the given original name."""
        data = unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")
        return cls(sha256(data), dict(vertebrae))

    def difference(self, other: CaseSource) -> str:
        """Return why another source is a different case, as a clause; empty if it may be the same.

        If the vertebrae of one source are not known, only the names are compared.
        """
        if self.name_sha256 != other.name_sha256:
            return "its name was written differently"
        if not self.vertebrae or not other.vertebrae:
            return ""
        common = [level for level in self.vertebrae if level in other.vertebrae]
        if not common:
            return "the labels have no level in common"
        moved = [x for x in common if not self.vertebrae[x].matches(other.vertebrae[x])]
        # Corrections change some vertebrae; if more than half differ, it is another case.
        if 2 * len(moved) <= len(common):
            return ""
        one, two = self.vertebrae[moved[0]], other.vertebrae[moved[0]]
        return (
            f"{moved[0]} there has {one.volume_ml:.2f} mL, here {two.volume_ml:.2f} mL, "
            f"{one.distance_mm(two):.0f} mm away"
        )
