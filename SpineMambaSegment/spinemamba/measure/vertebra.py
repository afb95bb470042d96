"""One vertebra: its body as far as it can be found, and its numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spinemamba.imaging.volume import Volume
from spinemamba.measure.body import Body, find_body
from spinemamba.measure.frame import Frame, Patch
from spinemamba.measure.walls import canal
from spinemamba.protocol.measurements import Plate, Vector
from spinemamba.protocol.quantities import TRABECULAR

PLATE_SIGNS = {"C1": (), "C2": (-1,), "Sacrum": (1,), "Coccyx": ()}
"""Endplates of the levels that have not both: 1 above, -1 below."""

NO_BODY = {
    "C1": "C1 has no body",
    "C2": "C2 has no upper endplate",
    "Sacrum": "the sacrum has no lower endplate",
    "Coccyx": "the coccyx has no body",
}
CUT = "cut by the image"
NO_CT = "no CT in Hounsfield units was given"
LEAST_ML = 0.2
"""A smaller region is no sample of a body."""


@dataclass(frozen=True)
class Vertebra:
    """A vertebra.

    Attributes:
        value: Label value.
        name: Level.
        patch: Its voxels.
        centroid_lps_mm: Mean of its voxels, (3,).
        volume_ml: Of its voxels.
        cut_sides: Sides of the image that cut it.
        body: None if it has none, or none was found.
        reason: Why an endplate is missing; empty if none is.
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
        """Return whether these endplates were found."""
        return self.body is not None and all(sign in self.body.plates for sign in signs)


def body_of(
    patch: Patch, start: Frame, name: str, cut_sides: tuple[str, ...]
) -> tuple[Body | None, str]:
    """Return the body with the endplates that the image shows, and why one is missing.

    Args:
        patch: The vertebra.
        start: Within the body.
        name: Level.
        cut_sides: Sides of the image that cut it.
    """
    signs = PLATE_SIGNS.get(name, (1, -1))
    reason = NO_BODY.get(name, "")
    for attempt in _tries(signs):
        try:
            body = find_body(patch, start, attempt)
        except ValueError as error:
            reason = reason or (CUT if cut_sides else str(error))
            if not cut_sides:
                break
            continue
        if all(plate.seen for plate in body.plates.values()):
            return body, reason
        reason = CUT
    return None, reason


def _tries(signs: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return what is looked for: both endplates, and where the image shows but one, that one."""
    return [signs, (1,), (-1,)] if len(signs) == 2 else [signs] if signs else []


def numbers(
    vertebra: Vertebra, image: Volume | None
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return what one vertebra shows by itself, and why what is missing is missing.

    Args:
        vertebra: What to measure.
        image: CT on the grid of the labels; None gives no density.
    """
    values: dict[str, float | None] = {"volume_ml": vertebra.volume_ml}
    reasons: dict[str, str] = {}
    if vertebra.cut_sides:
        values["volume_ml"], reasons["volume_ml"] = None, CUT
    keys = ("anterior_height_mm", "middle_height_mm", "posterior_height_mm")
    if vertebra.has(1, -1):
        upper, lower = (vertebra.body.plates[sign] for sign in (1, -1))
        heights = np.subtract(upper.profile_mm, lower.profile_mm)
        values.update(zip(keys, map(float, heights), strict=True))
        values["wedge_deg"] = wedge_deg(vertebra.body)
    else:
        values.update(dict.fromkeys((*keys, "wedge_deg")))
        reasons.update(dict.fromkeys((*keys, "wedge_deg"), vertebra.reason))
    _add_body(vertebra, image, values, reasons)
    return values, reasons


def wedge_deg(body: Body) -> float:
    """Return by how much a body is lower in front, in its own sagittal plane."""
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
        reasons["canal_width_mm"] = "no pedicles are in the label on both sides"
    density = None if image is None else trabecular(vertebra.patch, body, image)
    values["trabecular_hu"] = density
    if density is None:
        reasons["trabecular_hu"] = NO_CT if image is None else "the body is too small"


def trabecular(patch: Patch, body: Body, image: Volume) -> float | None:
    """Return the mean of the image in the middle of a body; None if that is too little."""
    across, high = TRABECULAR
    extent = body.extent
    half = across * np.array([extent.half_width_mm, extent.half_depth_mm])
    places, inside = patch.near(body.frame, (*half, high * extent.half_height_mm))
    places = places[inside & (((places[:, :2] / half) ** 2).sum(axis=1) <= 1)]
    if len(places) * patch.geometry.voxel_ml < LEAST_ML:
        return None
    index = np.rint(image.geometry.to_index_zyx(body.frame.to_lps(places))).astype(int)
    return float(image.array[tuple(index.T)].mean())


SIDES = {1: "superior", -1: "inferior"}


def plate_of(body: Body, sign: int) -> Plate:
    """Return the upper (1) or lower (-1) endplate of a body that has it."""
    width, depth = body.extent.half_width_mm, body.extent.half_depth_mm
    places = ((0, 0), (0, -depth), (0, depth), (width, 0), (-width, 0))
    middle, *others = (vector(body.on_plate(sign, x, y)) for x, y in places)
    return Plate(middle, vector(body.plates[sign].normal_lps), *others)


def vector(values: np.ndarray) -> Vector:
    """Return three numbers as the record keeps them."""
    return tuple(float(v) for v in values)
