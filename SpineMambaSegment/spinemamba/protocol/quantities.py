"""What is measured, how, in which unit, and when it is not given. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

COBB_LEAST_DEG = 10.0
"""A smaller bend to the side is no scoliosis (the usual definition)."""

GENANT_PERCENT = (20.0, 25.0, 40.0)
"""From these losses of height on, a deformity is mild (1), moderate (2), severe (3)."""

TRABECULAR = (0.6, 0.5)
"""Share of the body's width and depth, and of its height, in whose middle density is measured."""


@dataclass(frozen=True)
class Quantity:
    """A number that is measured.

    Attributes:
        key: Name in files.
        kind: What has it: one of `record.KINDS`.
        head: Name for people.
        unit: "mm", "mL", "HU", "deg", "%" or "" for a grade.
        digits: Decimals worth showing.
        how: How it is computed.
        missing: When it is not given.
    """

    key: str
    kind: str
    head: str
    unit: str
    digits: int
    how: str
    missing: str = "the body was not found, or an endplate is cut or not clear"


_HEIGHT = (
    "Between the endplates on the midline, along the body's axis, at {} % of its depth from the "
    "front; each endplate there is the level that best separates its voxels from others within 3 "
    "mm (1.25 voxels, if that is more)."
)
_DISC = "Between the facing endplates at {} % of the depth, along the mean of their normals."
_NEIGHBOUR = "one of the facing endplates is missing, or the levels are not neighbours in space"
_BOTH = "a level is missing or out of order, or its endplate is cut or not clear"
_SIDE = "the spine does not stand as the header says, so that left and right are not known"

QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "volume_ml", "vertebra", "volume", "mL", 1, "Voxels times their size.", "cut by the image"
    ),
    Quantity("anterior_height_mm", "vertebra", "anterior height", "mm", 1, _HEIGHT.format(15)),
    Quantity("middle_height_mm", "vertebra", "middle height", "mm", 1, _HEIGHT.format(50)),
    Quantity("posterior_height_mm", "vertebra", "posterior height", "mm", 1, _HEIGHT.format(85)),
    Quantity(
        "wedge_deg",
        "vertebra",
        "wedge",
        "deg",
        1,
        "Angle between both endplates in the body's own sagittal plane; positive if lower in "
        "front.",
    ),
    Quantity(
        "height_loss_percent",
        "vertebra",
        "height loss",
        "%",
        0,
        "Largest of: anterior and middle against the posterior height; posterior height against "
        "the mean of the neighbours' (one neighbour, if only one is there). Never below 0.",
    ),
    Quantity(
        "genant_grade",
        "vertebra",
        "suggested grade",
        "",
        0,
        "Genant, T1 to L5: 0 below 20 %, 1 from 20, 2 from 25, 3 from 40 % height loss. A "
        "suggestion for review: short vertebrae and Scheuermann's disease look alike in numbers.",
        "the height loss is not given, or the level is not thoracic or lumbar",
    ),
    Quantity(
        "width_mm",
        "vertebra",
        "body width",
        "mm",
        1,
        "Between the side walls at mid-height, ahead of the pedicles; median of rays.",
    ),
    Quantity(
        "depth_mm",
        "vertebra",
        "body depth",
        "mm",
        1,
        "Between front and back wall on the midline at mid-height; median of rays.",
    ),
    Quantity(
        "trabecular_hu",
        "vertebra",
        "trabecular HU",
        "HU",
        0,
        "Mean over an elliptic cylinder in the middle of the body: 60 % of its width and depth, "
        "50 % of its height. Contrast medium raises it.",
        "no CT in Hounsfield units was given, the body was not found, or less than 0.2 mL remains",
    ),
    Quantity(
        "canal_depth_mm",
        "vertebra",
        "canal depth",
        "mm",
        1,
        "From the back wall to the arch on the midline: the least over the heights at which the "
        "arch closes behind (10th percentile).",
        "the body was not found, or the arch does not close on the midline",
    ),
    Quantity(
        "canal_width_mm",
        "vertebra",
        "canal width",
        "mm",
        1,
        "Between the pedicles: the greatest at 3 to 10.5 mm behind the back wall, and of that the "
        "least over the heights with bone on both sides 3 mm behind it (10th percentile).",
        "the body was not found, or no pedicles are in the label",
    ),
    Quantity(
        "rotation_deg",
        "vertebra",
        "axial rotation",
        "deg",
        0,
        "Of the plane that halves the vertebra into mirror images against the patient's sagittal "
        "plane; positive if the front looks to the patient's right.",
        f"the body was not found, or {_SIDE}",
    ),
    Quantity("anterior_disc_mm", "disc", "anterior height", "mm", 1, _DISC.format(15), _NEIGHBOUR),
    Quantity("middle_disc_mm", "disc", "middle height", "mm", 1, _DISC.format(50), _NEIGHBOUR),
    Quantity(
        "posterior_disc_mm", "disc", "posterior height", "mm", 1, _DISC.format(85), _NEIGHBOUR
    ),
    Quantity(
        "disc_angle_deg",
        "disc",
        "angle",
        "deg",
        1,
        "Between the facing endplates in the sagittal plane; positive if open to the front.",
        _NEIGHBOUR,
    ),
    Quantity(
        "slip_mm",
        "disc",
        "slip",
        "mm",
        1,
        "From the lower back corner of the upper body to the upper back corner of the lower one, "
        "along the lower one's upper endplate; positive if the upper one lies forward. A corner is "
        "where the back wall near the endplate meets it.",
        _NEIGHBOUR + ", or a back wall is not clear",
    ),
    Quantity(
        "slip_percent",
        "disc",
        "slip",
        "%",
        0,
        "Slip in per cent of the lower body's depth.",
        "the slip is not given",
    ),
    Quantity(
        "lateral_slip_mm",
        "disc",
        "slip to the side",
        "mm",
        1,
        "Between the middles of the facing endplates, along the lower one from right to left; "
        "positive if the upper one lies to the patient's left.",
        f"{_NEIGHBOUR}, or {_SIDE}",
    ),
    Quantity(
        "angle_deg",
        "angle",
        "angle",
        "deg",
        1,
        "Between two endplates as they appear in the patient's sagittal plane; positive is "
        "lordosis, negative kyphosis. Which endplates is told with each.",
        _BOTH,
    ),
    Quantity(
        "cobb_deg",
        "curve",
        "Cobb angle",
        "deg",
        1,
        "Between the most tilted endplates at both ends of a curve, in the patient's coronal or "
        "sagittal plane. Curves run from one turn of the vertebrae's tilts (5 degrees or more) "
        "to the next, over three levels at least and 10 degrees at least. In the sagittal plane "
        "positive is lordosis, negative kyphosis.",
        _BOTH,
    ),
)

BY_KEY = {quantity.key: quantity for quantity in QUANTITIES}


def of_kind(kind: str) -> list[Quantity]:
    """Return the quantities that things of a kind have, in order."""
    return [quantity for quantity in QUANTITIES if quantity.kind == kind]
