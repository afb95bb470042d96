"""measurements.json: all measurements of a spine, with positions and reasons for missing values.

Standard library only, because the panel reads this file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from spinemamba.common.json_schema import OPTIONAL, JsonFormat, Limits

Vector = tuple[float, float, float]

NOTICE = "Suggestions for review, not for clinical use."
"""First note of all measurements."""

KINDS = ("vertebra", "disc", "angle", "curve")
"""Kinds of items, in the order of the files."""


@dataclass(frozen=True)
class Plate:
    """Plane of an endplate.

    Attributes:
        centre_lps_mm: Centre.
        normal_lps: Cranial normal.
        anterior_lps_mm: Point on the anterior edge.
        posterior_lps_mm: Point on the posterior edge.
        left_lps_mm: Point on the left edge.
        right_lps_mm: Point on the right edge.
    """

    centre_lps_mm: Vector
    normal_lps: Vector
    anterior_lps_mm: Vector
    posterior_lps_mm: Vector
    left_lps_mm: Vector
    right_lps_mm: Vector

    def line(self, view: str) -> tuple[Vector, Vector]:
        """Return the end points of the endplate's line in the "sagittal" or "coronal" view."""
        if view == "sagittal":
            return self.anterior_lps_mm, self.posterior_lps_mm
        return self.right_lps_mm, self.left_lps_mm


@dataclass(frozen=True)
class Item:
    """Measurements of a vertebra, a disc, an angle between given levels, or a detected curve.

    Attributes:
        kind: One of `KINDS`.
        name: Level, or two levels from top to bottom such as "L4-L5".
        values: Values by the keys of `quantities.QUANTITIES`; None if missing.
        reasons: Reason for each missing value, by key.
        words: Further findings as text, by key.
        view: "sagittal" or "coronal" for angles and curves; empty otherwise.
        plates: Endplates by "superior" and "inferior"; of angles and curves, the upper and the
            lower endplate.
        centre_lps_mm: Centroid of the voxels of a vertebra; None for other kinds.
        body_lps_mm: Centre of the vertebral body; None if the body was not found.
        axes_lps: Axes of the body (left, posterior, superior); None if the body was not found.
        uncertainties: Uncertainty of each value, in its unit, for a coverage of about 95 %; empty
            in files of versions that did not estimate it.
    """

    kind: Annotated[str, Limits(choices=KINDS)]
    name: str
    values: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    view: str = ""
    plates: dict[str, Plate] = field(default_factory=dict)
    centre_lps_mm: Vector | None = None
    body_lps_mm: Vector | None = None
    axes_lps: tuple[Vector, Vector, Vector] | None = None
    uncertainties: dict[str, float] = field(default_factory=dict, metadata=OPTIONAL)

    def text(self, key: str, digits: int) -> str:
        """Return a value with a number of decimals, or "-" if it is missing."""
        value = self.values.get(key)
        # Adding 0 turns -0 into 0.
        return "-" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"

    def text_pm(self, key: str, digits: int) -> str:
        """Return a value with its uncertainty, as "24.1 \N{PLUS-MINUS SIGN} 0.6"."""
        text, width = self.text(key, digits), self.uncertainties.get(key)
        if width is None or text == "-":
            return text
        # Rounded up, so that the shown range is never narrower than the estimated one.
        step = 10.0**-digits
        shown = math.ceil(width / step - 1e-6) * step
        return f"{text} \N{PLUS-MINUS SIGN} {shown:.{digits}f}"

    def joined_pm(self, keys: Sequence[str], digits: int, separator: str) -> str:
        """Return several values with the largest of their uncertainties.

        Args:
            keys: Keys of the values.
            digits: Number of decimals of all of them.
            separator: Text between two values.

        Returns:
            The text; "-" if all values are missing.
        """
        if all(self.values.get(key) is None for key in keys):
            return "-"
        widest = max(keys, key=lambda key: self.uncertainties.get(key, -1.0))
        shown = self.text_pm(widest, digits).partition(" \N{PLUS-MINUS SIGN} ")
        return separator.join(self.text(key, digits) for key in keys) + "".join(shown[1:])


@dataclass(frozen=True)
class Measurements:
    """All measurements of a spine.

    Attributes:
        package_version: Version of this package.
        labels_sha256: SHA-256 of the label values as bytes in the order z, y, x.
        spacing_mm: Voxel size of the labels along z, y, x.
        modality: "ct", "mr", or "" without an image.
        items: Vertebrae from top to bottom, discs, angles, curves.
        notes: Remarks on the measurements, as sentences.
        alerts: Cautions above all numbers: unverified levels, odd patient position.
    """

    package_version: str
    labels_sha256: str
    spacing_mm: Vector
    modality: str
    items: tuple[Item, ...]
    notes: tuple[str, ...]
    alerts: tuple[str, ...] = ()

    def of(self, kind: str) -> list[Item]:
        """Return the items of a kind."""
        return [item for item in self.items if item.kind == kind]

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that `from_json` reads."""
        return MEASUREMENTS.to_json(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Measurements:
        """Return the measurements stored in a dictionary.

        Raises:
            ValueError: If the schema differs, or an entry is missing, unknown or wrong.
        """
        return MEASUREMENTS.parse(values)


def read_measurements(path: Path) -> Measurements:
    """Read and check measurements.json.

    Raises:
        UserError: If the file is missing or damaged, or has another schema version.
    """
    return MEASUREMENTS.read(path)


MEASUREMENTS = JsonFormat(Measurements, "a file of measurements", "Measure again.", version=2)
"""Format of measurements.json."""
