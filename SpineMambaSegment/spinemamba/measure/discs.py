"""What lies between two vertebrae: height of the disc, its angle, and slips."""

from __future__ import annotations

import numpy as np

from spinemamba.measure.body import PLACES
from spinemamba.measure.curves import sagittal_deg
from spinemamba.measure.frame import unit
from spinemamba.measure.vertebra import Vertebra
from spinemamba.measure.walls import back_corner

HEIGHTS = ("anterior_disc_mm", "middle_disc_mm", "posterior_disc_mm")
SLIPS = ("slip_mm", "slip_percent")


def disc_numbers(
    upper: Vertebra, lower: Vertebra
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the numbers of the disc between two neighbours, and why some are missing."""
    keys = (*HEIGHTS, "disc_angle_deg", *SLIPS, "lateral_slip_mm")
    values: dict[str, float | None] = dict.fromkeys(keys)
    if not upper.has(-1) or not lower.has(1):
        which = upper if not upper.has(-1) else lower
        return values, dict.fromkeys(keys, f"{which.name}: {which.reason}")
    values.update(zip(HEIGHTS, heights_mm(upper, lower), strict=True))
    floor, roof = upper.body.plates[-1], lower.body.plates[1]
    values["disc_angle_deg"] = sagittal_deg(floor.normal_lps) - sagittal_deg(roof.normal_lps)
    aside = lower.body.frame.axes_lps[0]
    aside = unit(aside - (aside @ roof.normal_lps) * roof.normal_lps)
    values["lateral_slip_mm"] = float((floor.centre_lps_mm - roof.centre_lps_mm) @ aside)
    try:
        values["slip_mm"] = slip_mm(upper, lower)
    except ValueError:
        return values, dict.fromkeys(SLIPS, "a back wall is not clear in the label")
    values["slip_percent"] = 50 * values["slip_mm"] / lower.body.extent.half_depth_mm
    return values, {}


def heights_mm(upper: Vertebra, lower: Vertebra) -> list[float]:
    """Return the height of the disc in front, in the middle and behind."""
    along = unit(upper.body.plates[-1].normal_lps + lower.body.plates[1].normal_lps)
    places = []
    for vertebra, sign in ((upper, -1), (lower, 1)):
        body = vertebra.body
        depths = np.array(PLACES) * body.extent.half_depth_mm
        profile = np.array(body.plates[sign].profile_mm)
        places.append(body.frame.to_lps(np.stack([0 * depths, depths, profile], axis=1)))
    return [float(height) for height in (places[0] - places[1]) @ along]


def slip_mm(upper: Vertebra, lower: Vertebra) -> float:
    """Return by how much the upper body lies forward on the lower one.

    Raises:
        ValueError: If a back wall is not clear.
    """
    above = back_corner(upper.patch, upper.body, -1)
    below = back_corner(lower.patch, lower.body, 1)
    normal, back = lower.body.plates[1].normal_lps, lower.body.frame.posterior
    return float((below - above) @ unit(back - (back @ normal) * normal))
