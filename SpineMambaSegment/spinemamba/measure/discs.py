"""Measurements of a disc: heights, angle, and slip of the vertebra above."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spinemamba.measure.body import PLACES
from spinemamba.measure.curves import difference_deg, sagittal_deg
from spinemamba.measure.foramen import foramen_mm
from spinemamba.measure.frame import unit
from spinemamba.measure.vertebra import Vertebra
from spinemamba.measure.walls import back_corner

_HEIGHTS = ("anterior_disc_mm", "middle_disc_mm", "posterior_disc_mm")
_SLIPS = ("slip_mm", "slip_percent")
DIRECTED = (*_SLIPS, "lateral_slip_mm")
"""Values that depend on which of the two vertebrae is the upper one."""

_FORAMINA = {"left_foramen_mm": 1, "right_foramen_mm": -1}
SIDED = ("lateral_slip_mm", *_FORAMINA)
"""Values that need the left and the right side."""

_ALL = (*_HEIGHTS, "disc_angle_deg", *DIRECTED, *_FORAMINA)

_MOST_OF_BODY = 1.3
"""Largest height of a disc, as multiple of the body height; larger gaps contain a vertebra without
a label."""

_APART = "are not neighbours in space"

_LEAST_MM = 2.0
"""Largest overlap of the endplates of fused vertebrae, caused by label errors."""

_MEET = "the endplates meet there"


def disc_numbers(
    upper: Vertebra, lower: Vertebra
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the measurements of the disc between two neighbours, and reasons for missing ones."""
    values: dict[str, float | None] = dict.fromkeys(_ALL)
    if not upper.has(-1) or not lower.has(1):
        which = upper if not upper.has(-1) else lower
        return values, dict.fromkeys(_ALL, f"{which.name}: {which.reason}")
    heights = _heights_mm(upper, lower)
    if not _fit(heights, upper, lower):
        return missing_disc(upper.name, lower.name)
    values.update({key: h if h >= 0 else None for key, h in zip(_HEIGHTS, heights, strict=True)})
    reasons = {key: _MEET for key in _HEIGHTS if values[key] is None}
    floor, roof = upper.body.plates[-1], lower.body.plates[1]
    values["disc_angle_deg"] = difference_deg(
        sagittal_deg(floor.normal_lps), sagittal_deg(roof.normal_lps)
    )
    aside = lower.body.frame.axes_lps[0]
    aside = unit(aside - (aside @ roof.normal_lps) * roof.normal_lps)
    values["lateral_slip_mm"] = float((floor.centre_lps_mm - roof.centre_lps_mm) @ aside)
    for key, side in _FORAMINA.items():
        values[key] = foramen_mm(upper, lower, side)
        if values[key] is None:
            reasons[key] = "a pedicle is not in the label"
    try:
        values["slip_mm"] = _slip_mm(upper, lower)
    except ValueError:
        return values, reasons | dict.fromkeys(_SLIPS, "a back wall is not clear in the label")
    values["slip_percent"] = 50 * values["slip_mm"] / lower.body.extent.half_depth_mm
    return values, reasons


def missing_disc(upper: str, lower: str) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return missing values, with the reason that two levels are not neighbours in space."""
    return dict.fromkeys(_ALL), dict.fromkeys(_ALL, f"{upper} and {lower} {_APART}")


def not_neighbours(reasons: Mapping[str, str]) -> bool:
    """Return whether values are missing because the levels are not neighbours in space."""
    return reasons.get(_HEIGHTS[0], "").endswith(_APART)


def _fit(heights: list[float], upper: Vertebra, lower: Vertebra) -> bool:
    """Return whether the heights are plausible for a disc between these bodies."""
    bodies = [v.body.extent for v in (upper, lower) if v.has(1, -1)]
    # For bodies with one endplate, use the depth, which is somewhat larger than the height.
    most = _MOST_OF_BODY * max((2 * extent.half_height_mm for extent in bodies), default=0.0)
    most = most or upper.body.extent.half_depth_mm + lower.body.extent.half_depth_mm
    opposite = upper.body.frame.up @ lower.body.frame.up < 0
    return not opposite and max(heights) <= most and heights[1] > -_LEAST_MM


def _heights_mm(upper: Vertebra, lower: Vertebra) -> list[float]:
    """Return the anterior, middle and posterior height of the disc."""
    along = unit(upper.body.plates[-1].normal_lps + lower.body.plates[1].normal_lps)
    places = []
    for vertebra, sign in ((upper, -1), (lower, 1)):
        body = vertebra.body
        depths = np.array(PLACES) * body.extent.half_depth_mm
        profile = np.array(body.plates[sign].profile_mm)
        places.append(body.frame.to_lps(np.stack([0 * depths, depths, profile], axis=1)))
    return [float(height) for height in (places[0] - places[1]) @ along]


def _slip_mm(upper: Vertebra, lower: Vertebra) -> float:
    """Return the anterior displacement of the upper body against the lower one.

    Raises:
        ValueError: If a posterior wall is not clear in the label.
    """
    above = back_corner(upper.patch, upper.body, -1)
    below = back_corner(lower.patch, lower.body, 1)
    normal, back = lower.body.plates[1].normal_lps, lower.body.frame.posterior
    return float((below - above) @ unit(back - (back @ normal) * normal))
