"""Pelvic parameters: sacral slope, tilt and incidence, and the femoral heads that they need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import ndimage

from spinemamba.common.errors import UserError
from spinemamba.imaging.volume import Volume
from spinemamba.measure.curves import sagittal_deg
from spinemamba.measure.vertebra import Vertebra
from spinemamba.protocol.measurements import Item, Vector

NUMBERS = {"femur_left": 75, "femur_right": 76, "hip_left": 77, "hip_right": 78}
"""TotalSegmentator's numbers, version 2."""

_SIDES = ("left", "right")

_JOINT_MM = 6.0
"""Largest distance of the head's surface from the hip bone: cartilage and half a voxel."""

_LEAST_VOXELS = 60
_RADIUS_MM = (15.0, 34.0)
"""Plausible radii of a femoral head."""

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


def hip_centres(structures: Volume, numbers: Mapping[str, int] = NUMBERS) -> tuple[Vector, Vector]:
    """Return the centres of the left and the right femoral head, in LPS mm.

    A sphere is fitted to the surface of the femur that faces the hip bone.

    Args:
        structures: Label image with both femurs and hip bones.
        numbers: Their label values, by the names of `NUMBERS`.

    Raises:
        UserError: If a femur or hip bone is missing, or its joint is not a sphere.
    """
    left, right = (_centre(structures, side, numbers) for side in _SIDES)
    return left, right


def _centre(structures: Volume, side: str, numbers: Mapping[str, int]) -> Vector:
    thigh, socket = (numbers.get(f"{bone}_{side}", -1) for bone in ("femur", "hip"))
    femur, hip = structures.array == thigh, structures.array == socket
    if not femur.any() or not hip.any():
        raise UserError(
            f"The {side} femur ({thigh}) or hip bone ({socket}) is not in the labels.",
            "Give labels with TotalSegmentator's numbers, or mark the centres with --hips.",
        )
    box = ndimage.find_objects((femur | hip).astype(np.uint8))[0]
    near = ndimage.distance_transform_edt(~hip[box], sampling=structures.spacing_mm) <= _JOINT_MM
    shell = femur[box] & ~ndimage.binary_erosion(femur[box]) & near
    index = np.argwhere(shell) + [part.start for part in box]
    centre, radius = _sphere(structures.geometry.to_lps_mm(index))
    if len(index) < _LEAST_VOXELS or not _RADIUS_MM[0] <= radius <= _RADIUS_MM[1]:
        raise UserError(
            f"The {side} femoral head was not found: its radius would be {radius:.0f} mm.",
            "Mark the centres with --hips.",
        )
    return tuple(float(v) for v in centre)


def _sphere(points_mm: np.ndarray) -> tuple[np.ndarray, float]:
    """Return centre and radius of the sphere nearest to points (n, 3), by least squares."""
    if len(points_mm) < 4:
        return np.zeros(3), 0.0
    middle = points_mm.mean(axis=0)
    local = points_mm - middle
    design = np.column_stack([2 * local, np.ones(len(local))])
    solution, *_ = np.linalg.lstsq(design, (local**2).sum(axis=1), rcond=None)
    return middle + solution[:3], float(
        np.sqrt(max(0.0, solution[3] + solution[:3] @ solution[:3]))
    )
