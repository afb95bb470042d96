"""Definitions of all measured quantities. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

COBB_LEAST_DEG = 10.0
"""Smallest Cobb angle of a scoliosis, by the usual definition."""

GENANT_PERCENT = (20.0, 25.0, 40.0)
"""Lower limits of the height loss for the Genant grades 1 (mild), 2 (moderate), 3 (severe)."""

TRABECULAR = (0.6, 0.5)
"""Size of the region for the density: share of the body's width and depth, and of its height."""


@dataclass(frozen=True)
class Quantity:
    """A measured quantity.

    Attributes:
        key: Name in files.
        kind: Kind of items that have it, one of `measurements.KINDS`.
        head: Name in tables.
        unit: "mm", "mL", "HU", "deg", "%" or "" for a grade.
        digits: Number of decimals to show.
        how: Definition, as sentences.
        missing: Conditions under which the value is missing.
        void: Largest uncertainty, in the unit, with which a value is given; None for any.
        positive: Whether a value that is not larger than its uncertainty is left out, because a
            length, a volume or a size of 0 or less does not exist.
    """

    key: str
    kind: str
    head: str
    unit: str
    digits: int
    how: str
    missing: str = "the body was not found, or an endplate is cut or not clear"
    void: float | None = None
    positive: bool = False


_HEIGHT = (
    "Between the endplates on the midline, along the body's axis, at {} % of its depth from the "
    "front; each endplate there is the height that best separates its voxels from others within 3 "
    "mm (or 1.25 voxels, if larger)."
)
_DISC = "Between the facing endplates at {} % of the depth, along the mean of their normals."
_NEIGHBOUR = "one of the facing endplates is missing, or the levels are not neighbours in space"
_BOTH = "a level is missing or out of order, or its endplate is cut or not clear"
_FORAMEN = (
    "From the lower margin of the upper pedicle to the upper margin of the lower pedicle, 2.5 to 6 "
    "mm behind the back wall; a margin is where half of the pedicle ends, over its inner 7 mm."
)
_SIDE = "the orientation in the header contradicts the spine, so that left and right are unknown"

QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "volume_ml",
        "vertebra",
        "volume",
        "mL",
        1,
        "Number of voxels times the voxel volume.",
        "cut by the image",
        positive=True,
    ),
    Quantity(
        "anterior_height_mm",
        "vertebra",
        "anterior height",
        "mm",
        1,
        _HEIGHT.format(15),
        void=4.0,
        positive=True,
    ),
    Quantity(
        "middle_height_mm",
        "vertebra",
        "middle height",
        "mm",
        1,
        _HEIGHT.format(50),
        void=4.0,
        positive=True,
    ),
    Quantity(
        "posterior_height_mm",
        "vertebra",
        "posterior height",
        "mm",
        1,
        _HEIGHT.format(85),
        void=4.0,
        positive=True,
    ),
    Quantity(
        "wedge_deg",
        "vertebra",
        "wedge",
        "deg",
        1,
        "Angle between both endplates in the body's own sagittal plane; positive if lower in "
        "front.",
        void=12.0,
    ),
    Quantity(
        "height_loss_percent",
        "vertebra",
        "height loss",
        "%",
        0,
        "Largest of: anterior and middle height over the posterior height, against the usual ratio "
        "of the level; posterior height against the mean of the neighbours' (of one neighbour, if "
        "only one exists), scaled by the usual heights of the levels. Never below 0.",
        void=25.0,
    ),
    Quantity(
        "genant_grade",
        "vertebra",
        "suggested grade",
        "",
        0,
        "Genant, T1 to L5: 0 below 20 %, 1 from 20, 2 from 25, 3 from 40 % height loss. A "
        "suggestion for review: short vertebrae and Scheuermann's disease have similar values.",
        "the height loss is missing, or the level is not thoracic or lumbar",
    ),
    Quantity(
        "width_mm",
        "vertebra",
        "body width",
        "mm",
        1,
        "Between the side walls at mid-height, ahead of the pedicles; median of rays.",
        void=6.0,
        positive=True,
    ),
    Quantity(
        "depth_mm",
        "vertebra",
        "body depth",
        "mm",
        1,
        "Between front and back wall on the midline at mid-height; median of rays.",
        void=6.0,
        positive=True,
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
        void=50.0,
    ),
    Quantity(
        "trabecular_mg_ml",
        "vertebra",
        "trabecular density",
        "mg/mL",
        0,
        "The trabecular HU converted by the user's calibration line.",
        "the trabecular HU is missing, or no calibration is given",
        void=60.0,
    ),
    Quantity(
        "canal_depth_mm",
        "vertebra",
        "canal depth",
        "mm",
        1,
        "From the back wall to the arch on the midline: the minimum (10th percentile) over the "
        "heights at which the arch is closed.",
        "the body was not found, or the arch does not close on the midline",
        void=6.0,
        positive=True,
    ),
    Quantity(
        "canal_width_mm",
        "vertebra",
        "canal width",
        "mm",
        1,
        "Between the pedicles: the maximum at 3 to 10.5 mm behind the back wall, and of these the "
        "minimum (10th percentile) over the heights with bone on both sides 3 mm behind it.",
        "the body was not found, or the label has no pedicles",
        void=6.0,
        positive=True,
    ),
    Quantity(
        "rotation_deg",
        "vertebra",
        "axial rotation",
        "deg",
        0,
        "Angle between the vertebra's plane of symmetry and the patient's sagittal plane; positive "
        "if the front points to the patient's right.",
        f"the body was not found, or {_SIDE}",
        void=12.0,
    ),
    Quantity(
        "anterior_disc_mm",
        "disc",
        "anterior height",
        "mm",
        1,
        _DISC.format(15),
        _NEIGHBOUR,
        void=4.0,
        positive=True,
    ),
    Quantity(
        "middle_disc_mm",
        "disc",
        "middle height",
        "mm",
        1,
        _DISC.format(50),
        _NEIGHBOUR,
        void=4.0,
        positive=True,
    ),
    Quantity(
        "posterior_disc_mm",
        "disc",
        "posterior height",
        "mm",
        1,
        _DISC.format(85),
        _NEIGHBOUR,
        void=4.0,
        positive=True,
    ),
    Quantity(
        "disc_angle_deg",
        "disc",
        "angle",
        "deg",
        1,
        "Between the facing endplates in the sagittal plane; positive if open to the front.",
        _NEIGHBOUR,
        void=12.0,
    ),
    Quantity(
        "slip_mm",
        "disc",
        "slip",
        "mm",
        1,
        "From the lower back corner of the upper body to the upper back corner of the lower one, "
        "along the lower one's upper endplate; positive if the upper one lies forward. A corner is "
        "the intersection of the endplate and the back wall near it.",
        _NEIGHBOUR + ", or a back wall is not clear",
        void=5.0,
    ),
    Quantity(
        "slip_percent",
        "disc",
        "slip",
        "%",
        0,
        "Slip in per cent of the lower body's depth.",
        "the slip is missing",
        void=20.0,
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
        void=5.0,
    ),
    Quantity(
        "left_foramen_mm",
        "disc",
        "left foramen height",
        "mm",
        1,
        _FORAMEN,
        _NEIGHBOUR + ", or a pedicle is not in the label",
        void=8.0,
        positive=True,
    ),
    Quantity(
        "right_foramen_mm",
        "disc",
        "right foramen height",
        "mm",
        1,
        _FORAMEN,
        _NEIGHBOUR + ", or a pedicle is not in the label",
        void=8.0,
        positive=True,
    ),
    Quantity(
        "angle_deg",
        "angle",
        "angle",
        "deg",
        1,
        "Between two endplates, projected onto the patient's sagittal plane; positive is lordosis, "
        "negative kyphosis. Each angle names its endplates. Sacral slope, pelvic tilt and pelvic "
        "incidence, positive as usual, in the position of the scan.",
        _BOTH,
        void=12.0,
    ),
    Quantity(
        "cobb_deg",
        "curve",
        "Cobb angle",
        "deg",
        1,
        "Between the most tilted endplates at both ends of a curve, in the patient's coronal or "
        "sagittal plane. A curve extends between two reversals of the vertebrae's tilts (5 degrees "
        "or more), over at least three levels and at least 10 degrees. In the sagittal plane "
        "positive is lordosis, negative kyphosis. A curve that reaches the last whole vertebra "
        "beside one that the image cuts is not given.",
        _BOTH,
        void=12.0,
    ),
)

BY_KEY = {quantity.key: quantity for quantity in QUANTITIES}


def of_kind(kind: str) -> list[Quantity]:
    """Return the quantities of a kind of items, in order."""
    return [quantity for quantity in QUANTITIES if quantity.kind == kind]
