"""plan.json: pedicles, suggested screw corridors and tested screws. Standard library only."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from spinemamba.common.json_schema import JsonFormat, Limits, Sha256
from spinemamba.protocol.measurements import Vector
from spinemamba.protocol.planning.markups import ScrewLine
from spinemamba.protocol.planning.screws import USUAL, ScrewTable

NOTICE = (
    "Suggestions from geometry for research and education. Not for clinical use: a surgeon decides "
    "on every screw."
)
GUIDE_NOTICE = "Starting point for an engineer's own design. Not for use in patients."
SIDES = ("left", "right")
SOURCES = ("suggested", "edited", "image")
GRADES = ("A", "B", "C", "D", "E")
GRADE_LIMITS_MM = (2.0, 4.0, 6.0)
"""Gertzbein and Robbins (Spine 1990): A no breach, B below 2 mm, C below 4, D below 6, E more."""

WALLS = ("", "medial", "lateral", "superior", "inferior", "anterior")


def grade_of(breach_mm: float) -> str:
    """Return the Gertzbein-Robbins grade of a breach."""
    if breach_mm <= 0:
        return GRADES[0]
    return GRADES[1 + sum(breach_mm >= limit for limit in GRADE_LIMITS_MM)]


@dataclass(frozen=True)
class Corridor:
    """A screw in a vertebra, suggested, drawn by the user or found in the image, with its test.

    Attributes:
        source: "suggested", "edited" or "image".
        entry_lps_mm: Where it enters the bone.
        tip_lps_mm: Its tip.
        diameter_mm: Outer diameter.
        length_mm: From the entry to the tip, in bone.
        breach_mm: How far its surface lies beyond the cortex of pedicle and body; 0 if it does not.
        wall: Wall of the largest breach; empty without one.
        grade: Gertzbein-Robbins grade by this geometry.
        in_canal_mm: How far its surface lies within the spinal canal; 0 if it does not.
        cortex_margin_mm: Least distance of its surface from the cortex; negative in a breach.
        canal_margin_mm: Least distance from the canal; None if no canal was found.
        transverse_deg: Angle to the sagittal plane of the vertebra; positive if it converges.
        sagittal_deg: Angle to the transverse plane of the vertebra; positive if the tip is higher.
    """

    source: Annotated[str, Limits(choices=SOURCES)]
    entry_lps_mm: Vector
    tip_lps_mm: Vector
    diameter_mm: float
    length_mm: float
    breach_mm: float
    wall: Annotated[str, Limits(choices=WALLS)]
    grade: Annotated[str, Limits(choices=GRADES)]
    in_canal_mm: float
    cortex_margin_mm: float
    canal_margin_mm: float | None
    transverse_deg: float
    sagittal_deg: float


@dataclass(frozen=True)
class Pedicle:
    """A pedicle; what is missing is None, with a reason.

    Attributes:
        level: Level of the vertebra.
        side: "left" or "right" of the patient.
        entry_lps_mm: Where the axis meets the posterior cortex.
        isthmus_lps_mm: Middle of the narrowest section.
        anterior_lps_mm: Where the axis meets the anterior cortex.
        width_mm: Width of the isthmus from outer to outer cortex, in the transverse plane.
        height_mm: Height of the isthmus, perpendicular to the width.
        inner_width_mm: Width from inner to inner cortex.
        inner_height_mm: Height from inner to inner cortex.
        length_mm: From the posterior to the anterior cortex along the axis.
        transverse_deg: Angle of the axis to the sagittal plane; positive if it converges.
        sagittal_deg: Angle of the axis to the transverse plane; positive if it rises to the front.
        suggestion: Suggested corridor.
        screws: Tested screws: edited lines, and metal in the image.
        reasons: Reason for each missing value, by its name.
    """

    level: str
    side: Annotated[str, Limits(choices=SIDES)]
    entry_lps_mm: Vector | None = None
    isthmus_lps_mm: Vector | None = None
    anterior_lps_mm: Vector | None = None
    width_mm: float | None = None
    height_mm: float | None = None
    inner_width_mm: float | None = None
    inner_height_mm: float | None = None
    length_mm: float | None = None
    transverse_deg: float | None = None
    sagittal_deg: float | None = None
    suggestion: Corridor | None = None
    screws: tuple[Corridor, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Level and side, such as "L4 left"."""
        return f"{self.level} {self.side}"


@dataclass(frozen=True)
class PlanFile:
    """A surface that was written with the plan.

    Attributes:
        name: File name in the folder of the plan.
        kind: "corridor" (a cylinder) or "guide" (a starting point for a drill guide).
        sha256: SHA-256 of the file.
        watertight: Whether every edge belongs to two triangles with consistent orientation.
        notice: Intended use.
        unit: Unit of the coordinates.
    """

    name: str
    kind: Annotated[str, Limits(choices=("corridor", "guide"))]
    sha256: Sha256
    watertight: bool
    notice: str
    unit: Annotated[str, Limits(choices=("mm",))] = "mm"


@dataclass(frozen=True)
class Plan:
    """Pedicles and screws of a spine.

    Attributes:
        notice: Intended use.
        package_version: Version of this package.
        labels_sha256: SHA-256 of the label values as bytes in the order z, y, x.
        spacing_mm: Voxel size of the labels along z, y, x.
        modality: "ct", or "" without a CT.
        coordinate_system: Of all points.
        screw_table: Screws and rules of the suggestions.
        pedicles: From head to tail, left before right.
        files: Surfaces that were written with the plan.
        notes: Remarks, as sentences.
        alerts: Cautions above all numbers.
    """

    package_version: str
    labels_sha256: str
    spacing_mm: Vector
    modality: str
    pedicles: tuple[Pedicle, ...]
    notes: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    files: tuple[PlanFile, ...] = ()
    screw_table: ScrewTable = USUAL
    coordinate_system: Annotated[str, Limits(choices=("LPS",))] = "LPS"
    notice: str = NOTICE


PLAN = JsonFormat(Plan, "a plan", "Plan again.", version=1)
"""Format of plan.json."""


def read_plan(path: Path) -> Plan:
    """Read and check plan.json.

    Raises:
        UserError: If the file is missing or damaged, or has another schema version.
    """
    return PLAN.read(path)


def suggested_lines(plan: Plan) -> list[ScrewLine]:
    """Return a line from entry to tip for each suggested corridor."""
    return [
        ScrewLine(p.name, s.entry_lps_mm, s.tip_lps_mm, s.diameter_mm)
        for p in plan.pedicles
        if (s := p.suggestion) is not None
    ]


_MEASURED = ("width_mm", "height_mm", "inner_width_mm", "inner_height_mm", "length_mm")
_MEASURED += ("transverse_deg", "sagittal_deg")
_TESTED = ("source", "diameter_mm", "length_mm", "grade", "breach_mm", "wall", "in_canal_mm")
_TESTED += ("cortex_margin_mm", "canal_margin_mm", "transverse_deg", "sagittal_deg")


def table_of(plan: Plan) -> str:
    """Return a CSV table: a row for each pedicle, and for each screw of it."""
    out = io.StringIO(newline="")
    screw = [f"screw_{name}" for name in _TESTED]
    columns = ["level", "side", *_MEASURED, *screw, "entry_lps_mm", "tip_lps_mm", "reasons"]
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    out.write(f"# {plan.notice}\n")
    writer.writeheader()
    for pedicle in plan.pedicles:
        row = {name: _cell(getattr(pedicle, name)) for name in _MEASURED}
        row |= {"level": pedicle.level, "side": pedicle.side}
        row["reasons"] = "; ".join(f"{key}: {why}" for key, why in pedicle.reasons.items())
        suggested = [pedicle.suggestion] if pedicle.suggestion else []
        for corridor in (*suggested, *pedicle.screws):
            tested = {f"screw_{name}": _cell(getattr(corridor, name)) for name in _TESTED}
            points = {key: _cell(getattr(corridor, key)) for key in ("entry_lps_mm", "tip_lps_mm")}
            writer.writerow(row | tested | points)
        if not suggested and not pedicle.screws:
            writer.writerow(row)
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{round(value, 2) + 0.0:.2f}"
    if isinstance(value, tuple):
        return " ".join(f"{v:.2f}" for v in value)
    return str(value)
