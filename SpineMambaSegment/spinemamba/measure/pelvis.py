"""Pelvic parameters: sacral slope, pelvic tilt and pelvic incidence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from spinemamba.measure.curves import sagittal_deg
from spinemamba.measure.vertebra import Vertebra
from spinemamba.protocol.measurements import Item, Vector

SLOPE, TILT, INCIDENCE = "Sacral slope", "Pelvic tilt", "Pelvic incidence"
WITH_HIPS = (TILT, INCIDENCE)
"""Parameters that need the centres of both femoral heads."""

_NO_HIPS = "the centres of the femoral heads are not given"


def pelvic_items(
    vertebrae: Mapping[str, Vertebra], hips_lps_mm: Sequence[Vector], doubtful: str
) -> Iterable[Item]:
    """Yield the pelvic parameters, in degrees; nothing if the sacrum is not in the labels.

    Args:
        vertebrae: Vertebrae by level.
        hips_lps_mm: Centres of both femoral heads; empty if unknown.
        doubtful: Why angles cannot be given; empty if they can.
    """
    sacrum = vertebrae.get("Sacrum")
    if sacrum is None:
        return
    reason = doubtful or ("" if sacrum.has(1) else f"S1: {sacrum.reason}")
    slope = tilt = None
    if not reason:
        plate = sacrum.body.plates[1]
        slope = -sagittal_deg(plate.normal_lps)
        if hips_lps_mm:
            axis = np.mean(hips_lps_mm, axis=0)
            _, back, up = plate.centre_lps_mm - axis
            tilt = math.degrees(math.atan2(back, up))
    values = {
        SLOPE: (slope, "S1 superior to the horizontal"),
        TILT: (tilt, "hip axis to S1 superior, from the vertical"),
        INCIDENCE: (
            None if tilt is None else slope + tilt,
            "hip axis to the normal of S1 superior",
        ),
    }
    for name, (value, between) in values.items():
        missing = {} if value is not None else {"angle_deg": reason or _NO_HIPS}
        words = {"between": between, "what": "as the patient lies"}
        yield Item("angle", name, {"angle_deg": value}, missing, words, view="sagittal")
