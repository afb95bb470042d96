"""Items of a measured spine: vertebrae, discs, angles and curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from spinemamba.anatomy.labels import ORDER
from spinemamba.imaging.volume import Volume
from spinemamba.measure.angles import SpineCurve, adjacent, angle_items, curve_items
from spinemamba.measure.discs import DIRECTED, SIDED, disc_numbers, missing_disc
from spinemamba.measure.given import Given
from spinemamba.measure.pelvis import pelvic_items
from spinemamba.measure.stance import NO_SIDE, Stance
from spinemamba.measure.vertebra import (
    SIDES,
    Vertebra,
    genant_grade,
    height_loss,
    numbers,
    plate_of,
    vector,
)
from spinemamba.protocol.measurements import Item

DOUBLE = "its label contains two bodies"
_NO_CALIBRATION = "no calibration is given"


@dataclass(frozen=True)
class Case:
    """What all items of a spine share.

    Attributes:
        ct: CT on the grid of the labels, for densities; or None.
        stance: Position of the spine.
        given: Calibration and hips, in the frame of `Stance.stand`.
        curves: Curves to measure.
    """

    ct: Volume | None
    stance: Stance
    given: Given
    curves: Sequence[SpineCurve]


def all_items(vertebrae: Sequence[Vertebra], case: Case) -> list[Item]:
    """Return vertebrae from top to bottom, discs, angles and curves."""
    by_name = {vertebra.name: vertebra for vertebra in vertebrae}
    return [
        *_vertebra_items(vertebrae, case),
        *disc_items(vertebrae, case.stance),
        *angle_items(vertebrae, case.stance),
        *pelvic_items(by_name, case.given.hips_lps_mm, case.stance.doubtful),
        *curve_items(vertebrae, case.curves, case.stance),
    ]


def _vertebra_items(vertebrae: Sequence[Vertebra], case: Case) -> Iterable[Item]:
    stance = case.stance
    measured = [_numbers(vertebra, case) for vertebra in vertebrae]
    for k, vertebra in enumerate(vertebrae):
        values, reasons = measured[k]
        neighbours = [
            (vertebrae[j].name, measured[j][0])
            for j in (k - 1, k + 1)
            if 0 <= j < len(vertebrae)
            and _are_neighbours(*sorted((vertebrae[j].name, vertebra.name), key=ORDER.get), stance)
        ]
        loss = height_loss(values, neighbours, vertebra.name)
        words = {"cut": ", ".join(vertebra.cut_sides)} if vertebra.cut_sides else {}
        graded = loss is not None and vertebra.name[0] in "TL"
        values["height_loss_percent"] = None if loss is None else loss[0]
        values["genant_grade"] = float(genant_grade(loss[0])) if graded else None
        if loss is None:
            reasons["height_loss_percent"] = reasons["genant_grade"] = vertebra.reason
        elif not graded:
            reasons["genant_grade"] = "only thoracic and lumbar vertebrae are graded"
        elif values["genant_grade"]:
            words["deformity"] = loss[1]
        body = vertebra.body
        yield Item(
            "vertebra",
            vertebra.name,
            values,
            reasons,
            words,
            plates={} if body is None else {SIDES[s]: plate_of(body, s) for s in body.plates},
            centre_lps_mm=vector(vertebra.centroid_lps_mm),
            body_lps_mm=None if body is None else vector(body.frame.centre_lps_mm),
            axes_lps=None if body is None else tuple(map(vector, body.frame.axes_lps)),
        )


def _numbers(vertebra: Vertebra, case: Case) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the measurements of one vertebra; without its neighbours, and missing ones as None."""
    values, reasons = numbers(vertebra, case.ct)
    density, line = values["trabecular_hu"], case.given.calibration
    known = density is not None and line is not None
    values["trabecular_mg_ml"] = line.density_mg_ml(density) if known else None
    if not known:
        reasons["trabecular_mg_ml"] = reasons.get("trabecular_hu", _NO_CALIBRATION)
    if vertebra.name in case.stance.doubles:
        values["volume_ml"], reasons["volume_ml"] = None, DOUBLE
    if not case.stance.as_header and values["rotation_deg"] is not None:
        values["rotation_deg"], reasons["rotation_deg"] = None, NO_SIDE
    return values, reasons


def _are_neighbours(upper: str, lower: str, stance: Stance) -> bool:
    return adjacent(upper, lower) and stance.neighbours(upper, lower)


def disc_items(vertebrae: Sequence[Vertebra], stance: Stance) -> list[Item]:
    """Return the discs between levels that follow each other, from top to bottom."""
    out = []
    for upper, lower in pairwise(vertebrae):
        if not adjacent(upper.name, lower.name):
            continue
        if stance.neighbours(upper.name, lower.name):
            values, reasons = disc_numbers(upper, lower)
        else:
            values, reasons = missing_disc(upper.name, lower.name)
        unknown = dict.fromkeys(DIRECTED, stance.doubtful) if stance.doubtful else {}
        if not stance.as_header:
            unknown |= {key: NO_SIDE for key in SIDED if key not in unknown}
        for key, reason in unknown.items():
            if values[key] is not None:
                values[key], reasons[key] = None, reason
        out.append(Item("disc", f"{upper.name}-{lower.name}", values, reasons))
    return out
