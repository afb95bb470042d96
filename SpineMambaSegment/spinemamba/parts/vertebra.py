"""Divide one vertebra into parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from spinemamba.anatomy.parts import (
    BODY,
    DENS,
    ENDPLATES,
    FIRST_SACRAL_BODY,
    INFERIOR,
    LAMINAE,
    OWN_PARTS,
    PEDICLES,
    SPINOUS,
    SUPERIOR,
    TRANSVERSE,
    TYPICAL,
    UNDIVIDED,
    Part,
)
from spinemamba.imaging.volume import Volume
from spinemamba.measure.vertebra import Vertebra
from spinemamba.parts.atlas import divide_atlas
from spinemamba.parts.axis import add_dens
from spinemamba.parts.bone_field import BoneField
from spinemamba.parts.divide import divide, is_body
from spinemamba.parts.endplates import endplate
from spinemamba.parts.landmarks import NECK, Landmarks, find_landmarks, wall_mm
from spinemamba.parts.pieces import join_loose_pieces
from spinemamba.parts.sacrum import divide_sacrum
from spinemamba.parts.vertebra_parts import Pedicle, VertebraParts

_ARCH = (*PEDICLES, *LAMINAE, SPINOUS, *TRANSVERSE, *SUPERIOR, *INFERIOR)

_COCCYX = "it has no arch"


def divide_vertebra(labels: Volume, vertebra: Vertebra) -> tuple[VertebraParts, Landmarks | None]:
    """Return a vertebra divided into parts, and the landmarks of its arch; None if not found.

    Every voxel of the vertebra gets exactly one part. Voxels that cannot be divided are
    `anatomy.parts.UNDIVIDED`.

    Args:
        labels: Label image in which the vertebra was found.
        vertebra: The vertebra.
    """
    box = vertebra.patch.box
    inside = labels.array[box] == vertebra.value
    index = np.argwhere(inside)
    corner = [part.start for part in box]
    points = labels.geometry.to_lps_mm(index + corner)
    values, marks, missing = _values(labels, vertebra, points)
    parts = np.zeros(inside.shape, np.uint8)
    parts[inside] = values
    _add_endplates(parts, inside, vertebra, points)
    parts = join_loose_pieces(parts, labels.spacing_mm)
    missing |= _absent(parts, vertebra, missing)
    origin = tuple(map(float, labels.geometry.to_lps_mm(np.array(corner))))
    grid = replace(labels.geometry, shape=inside.shape, origin_lps_mm=origin)
    pedicles = {} if marks is None else _pedicles(marks)
    return VertebraParts(vertebra, box, Volume(parts, grid), pedicles, missing), marks


def _values(
    labels: Volume, vertebra: Vertebra, points_lps_mm: np.ndarray
) -> tuple[np.ndarray, Landmarks | None, dict[Part, str]]:
    """Return the part of each voxel, the landmarks, and reasons for missing parts."""
    undivided = np.full(len(points_lps_mm), UNDIVIDED.value, np.uint8)
    body = vertebra.body
    own = OWN_PARTS.get(vertebra.name, TYPICAL)
    if vertebra.name == "C1":
        try:
            return divide_atlas(vertebra, points_lps_mm), None, {}
        except ValueError as error:
            return undivided, None, dict.fromkeys(own, str(error))
    if body is None or vertebra.name == "Coccyx":
        reason = _COCCYX if vertebra.name == "Coccyx" else vertebra.reason
        return undivided, None, dict.fromkeys(own or (BODY, *_ARCH), reason)
    places = body.frame.to_local(points_lps_mm)
    if vertebra.name == "Sacrum":
        return divide_sacrum(body, wall_mm(vertebra.patch, body), places), None, {}
    try:
        field = BoneField.of(labels, vertebra.value, body.frame)
        marks = find_landmarks(vertebra, field, places)
    except ValueError as error:
        reason = "cut by the image" if vertebra.cut_sides else str(error)
        sizes = wall_mm(vertebra.patch, body), body.extent.half_width_mm
        in_body = is_body(places, *sizes, is_neck=vertebra.name in NECK)
        undivided[in_body] = BODY.value
        return undivided, None, dict.fromkeys(_ARCH, reason)
    if vertebra.name == "C2":
        values, missing = _of_axis(places, marks)
        return values, marks, missing
    return divide(places, marks), marks, {}


def _of_axis(places_mm: np.ndarray, marks: Landmarks) -> tuple[np.ndarray, dict[Part, str]]:
    """Return the parts of C2, and reasons for missing ones."""
    values = divide(places_mm, marks, SUPERIOR)
    upper = [
        side.pedicle.isthmus_mm[2] + side.pedicle.half_height_mm for side in marks.sides.values()
    ]
    above = places_mm[:, 2] > max(upper)
    values[above & np.isin(values, [part.value for part in PEDICLES])] = BODY.value
    try:
        add_dens(values, places_mm, marks.wall_mm)
    except ValueError as error:
        return values, dict.fromkeys((DENS, *SUPERIOR), str(error))
    return values, {}


def _add_endplates(
    parts: np.ndarray, inside: np.ndarray, vertebra: Vertebra, points_lps_mm: np.ndarray
) -> None:
    """Assign the ends of the body to the endplates, in place.

    Args:
        parts: Values of parts, (z, y, x).
        inside: Mask of the vertebra, (z, y, x).
        vertebra: The vertebra.
        points_lps_mm: Centres of its voxels in LPS, (n, 3).
    """
    if vertebra.body is None:
        return
    values = parts[inside]
    whole = np.isin(values, [part.value for part in (BODY, FIRST_SACRAL_BODY, UNDIVIDED)])
    places = vertebra.body.frame.to_local(points_lps_mm[whole])
    rows = np.flatnonzero(whole)
    for sign in vertebra.body.plates:
        chosen = endplate(vertebra.patch, vertebra.body, sign, places)
        values[rows[chosen]] = ENDPLATES[sign].value
    parts[inside] = values


def _absent(parts: np.ndarray, vertebra: Vertebra, known: Mapping[Part, str]) -> dict[Part, str]:
    """Return reasons for the parts without a voxel."""
    present = set(np.unique(parts).tolist())
    reasons = {}
    for part in OWN_PARTS.get(vertebra.name, TYPICAL):
        if part.value in present or part in known:
            continue
        if part in ENDPLATES.values():
            reasons[part] = vertebra.reason or "the endplate is not clear in the label"
        else:
            cut = bool(vertebra.cut_sides)
            reasons[part] = "cut by the image" if cut else "its label has no such process"
    return reasons


def _pedicles(marks: Landmarks) -> dict[str, Pedicle]:
    """Return the pedicles by side that a plan would report."""
    out = {}
    for sign, name in ((1, "left"), (-1, "right")):
        side = marks.sides[sign]
        axis = side.pedicle
        if axis.reason:
            continue
        mirror = np.array([sign, 1, 1])
        front = mirror * side.front_mm(marks.wall_mm)
        ends = front, mirror * axis.isthmus_mm, mirror * side.end_mm
        out[name] = Pedicle(name, *ends, axis.area_mm2)
    return out
