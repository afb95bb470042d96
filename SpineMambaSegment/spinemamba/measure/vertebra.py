"""Measurements of one vertebra: body, size, density, canal and rotation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.statistics import BODY_SHAPE
from spinemamba.imaging.volume import Volume
from spinemamba.measure.body import Body, find_body
from spinemamba.measure.frame import Frame, Patch
from spinemamba.measure.walls import canal
from spinemamba.protocol.measurements import Plate, Vector
from spinemamba.protocol.quantities import GENANT_PERCENT, TRABECULAR

_PLATE_SIGNS = {"C1": (), "C2": (-1,), "Sacrum": (1,), "Coccyx": ()}
"""Endplates (1 upper, -1 lower) of the levels that lack one or both."""

_NO_BODY = {
    "C1": "C1 has no body",
    "C2": "C2 has no upper endplate",
    "Sacrum": "the sacrum has no lower endplate",
    "Coccyx": "the coccyx has no body",
}
_CUT = "cut by the image"
_NO_CT = "no CT in Hounsfield units was given"
_LEAST_ML = 0.2
"""Smallest volume of the region for the density."""

_Values = Mapping[str, float | None]
_BOX = (1.0, 1.0, 20.0)
"""Shape of the body of a level without a usual one, as in `BODY_SHAPE`."""

_DEFORMITIES = ("wedge", "biconcave", "crush")


@dataclass(frozen=True)
class Vertebra:
    """A vertebra and its body.

    Attributes:
        value: Label value.
        name: Level.
        patch: Label image around the vertebra.
        centroid_lps_mm: Centroid of the voxels, (3,).
        volume_ml: Volume of the voxels.
        cut_sides: Sides at which it is truncated.
        body: Vertebral body; None if the level has none, or it was not found.
        reason: Why an endplate is missing; empty if both are there.
    """

    value: int
    name: str
    patch: Patch
    centroid_lps_mm: np.ndarray
    volume_ml: float
    cut_sides: tuple[str, ...]
    body: Body | None
    reason: str

    def has(self, *signs: int) -> bool:
        """Return whether the endplates with these signs were found."""
        return self.body is not None and all(sign in self.body.plates for sign in signs)


def body_of(
    patch: Patch, start: Frame, name: str, cut_sides: tuple[str, ...]
) -> tuple[Body | None, str]:
    """Return the body with its visible endplates, and the reason if one is missing.

    Args:
        patch: Label image around the vertebra.
        start: Initial frame inside the body.
        name: Level.
        cut_sides: Sides at which the vertebra is truncated.
    """
    signs = _PLATE_SIGNS.get(name, (1, -1))
    reason = _NO_BODY.get(name, "")
    for attempt in _tries(signs):
        try:
            body = find_body(patch, start, attempt)
        except ValueError as error:
            reason = reason or (_CUT if cut_sides else str(error))
            if not cut_sides:
                break
            continue
        if all(plate.seen for plate in body.plates.values()):
            return body, reason
        reason = _CUT
    return None, reason


def _tries(signs: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the sets of endplates to try: both, then each alone, for truncated vertebrae."""
    return [signs, (1,), (-1,)] if len(signs) == 2 else [signs] if signs else []


def numbers(
    vertebra: Vertebra, image: Volume | None
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the measurements of one vertebra, and reasons for missing ones.

    Args:
        vertebra: Vertebra to measure.
        image: CT on the grid of the labels, for the density; or None.
    """
    values: dict[str, float | None] = {"volume_ml": vertebra.volume_ml}
    reasons: dict[str, str] = {}
    if vertebra.cut_sides:
        values["volume_ml"], reasons["volume_ml"] = None, _CUT
    keys = ("anterior_height_mm", "middle_height_mm", "posterior_height_mm")
    if vertebra.has(1, -1):
        upper, lower = (vertebra.body.plates[sign] for sign in (1, -1))
        heights = np.subtract(upper.profile_mm, lower.profile_mm)
        values.update(zip(keys, map(float, heights), strict=True))
        values["wedge_deg"] = _wedge_deg(vertebra.body)
    else:
        values.update(dict.fromkeys((*keys, "wedge_deg")))
        reasons.update(dict.fromkeys((*keys, "wedge_deg"), vertebra.reason))
    _add_body(vertebra, image, values, reasons)
    return values, reasons


def _wedge_deg(body: Body) -> float:
    """Return the wedge angle in the body's sagittal plane; positive if lower in front."""
    upper, lower = (math.atan(body.plates[sign].plane.slope[1]) for sign in (1, -1))
    return math.degrees(upper - lower)


def _add_body(
    vertebra: Vertebra,
    image: Volume | None,
    values: dict[str, float | None],
    reasons: dict[str, str],
) -> None:
    """Add the size of the body, its density, the canal and the rotation."""
    keys = ("width_mm", "depth_mm", "trabecular_hu", "canal_depth_mm", "canal_width_mm")
    values.update(dict.fromkeys((*keys, "rotation_deg")))
    body = vertebra.body
    if body is None:
        reasons.update(dict.fromkeys((*keys, "rotation_deg"), vertebra.reason))
        return
    back = body.frame.posterior
    values["rotation_deg"] = math.degrees(math.atan2(back[0], back[1]))
    if not vertebra.has(1, -1):
        reasons.update(dict.fromkeys(keys, vertebra.reason))
        return
    values["width_mm"] = 2 * body.extent.half_width_mm
    values["depth_mm"] = 2 * body.extent.half_depth_mm
    behind = canal(vertebra.patch, body)
    values["canal_depth_mm"], values["canal_width_mm"] = behind.depth_mm, behind.width_mm
    if behind.depth_mm is None:
        reasons["canal_depth_mm"] = "the arch does not close on the midline"
    if behind.width_mm is None:
        reasons["canal_width_mm"] = "the label has no pedicles on both sides"
    density = None if image is None else _trabecular(vertebra.patch, body, image)
    values["trabecular_hu"] = density
    if density is None:
        reasons["trabecular_hu"] = _NO_CT if image is None else "the body is too small"


def _trabecular(patch: Patch, body: Body, image: Volume) -> float | None:
    """Return the mean intensity in the middle of a body; None if the region is too small."""
    across, high = TRABECULAR
    extent = body.extent
    half = across * np.array([extent.half_width_mm, extent.half_depth_mm])
    places, inside = patch.near(body.frame, (*half, high * extent.half_height_mm))
    places = places[inside & (((places[:, :2] / half) ** 2).sum(axis=1) <= 1)]
    if len(places) * patch.geometry.voxel_ml < _LEAST_ML:
        return None
    index = np.rint(image.geometry.to_index_zyx(body.frame.to_lps(places))).astype(int)
    return float(image.array[tuple(index.T)].mean())


def height_loss(
    values: _Values, neighbours: Sequence[tuple[str, _Values]], level: str = ""
) -> tuple[float, str] | None:
    """Return the height loss in per cent, never below 0, and the kind of deformity.

    Args:
        values: Heights of the vertebra.
        neighbours: Levels and known heights of the vertebrae directly above and below.
        level: Level of the vertebra, for its usual shape; a box if the level has none.

    Returns:
        The largest of the anterior ("wedge"), middle ("biconcave") and posterior ("crush") height
        loss; None if the heights of the vertebra are missing.
    """
    front, middle, back = (
        values.get(f"{place}_height_mm") for place in ("anterior", "middle", "posterior")
    )
    if front is None or middle is None or back is None:
        return None
    usual_front, usual_middle, usual_back = BODY_SHAPE.get(level, _BOX)
    losses = [1 - front / back / usual_front, 1 - middle / back / usual_middle]
    beside = [
        height * usual_back / BODY_SHAPE.get(name, _BOX)[2] if level in BODY_SHAPE else height
        for name, other in neighbours
        if (height := other.get("posterior_height_mm")) is not None
    ]
    if beside:
        losses.append(1 - back / (sum(beside) / len(beside)))
    worst = max(range(len(losses)), key=losses.__getitem__)
    return max(0.0, 100 * losses[worst]), _DEFORMITIES[worst]


def genant_grade(loss_percent: float) -> int:
    """Return the Genant grade of a height loss, 0 to 3."""
    return sum(loss_percent >= least for least in GENANT_PERCENT)


SIDES = {1: "superior", -1: "inferior"}


def plate_of(body: Body, sign: int) -> Plate:
    """Return the upper (1) or lower (-1) endplate of a body for measurements.json."""
    width, depth = body.extent.half_width_mm, body.extent.half_depth_mm
    places = ((0, 0), (0, -depth), (0, depth), (width, 0), (-width, 0))
    middle, *others = (vector(body.on_plate(sign, x, y)) for x, y in places)
    return Plate(middle, vector(body.plates[sign].normal_lps), *others)


def vector(values: np.ndarray) -> Vector:
    """Return a vector as a tuple of Python floats."""
    return tuple(float(v) for v in values)
