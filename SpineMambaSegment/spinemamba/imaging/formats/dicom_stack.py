"""The voxel grid of a DICOM series, from the tags of its slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spinemamba.common.errors import UserError
from spinemamba.imaging.formats.dicom_header import (
    BITS_ALLOCATED,
    BITS_STORED,
    COLUMNS,
    ENHANCED,
    FRAME_UID,
    IMAGER_SPACING,
    INTERCEPT,
    NOMINAL_SPACING,
    ORIENTATION,
    PHOTOMETRIC,
    PIXEL_SPACING,
    POSITION,
    ROWS,
    SAMPLES,
    SIGNED,
    SLOPE,
    SOP_CLASS,
    Header,
)
from spinemamba.imaging.volume import Geometry

OFF_GRID_TOLERANCE = 0.02
"""Largest error of a slice position, in slice distances. A missing slice causes about 0.5."""

ROUNDING_MM = 0.1
"""Accepted error of positions: some scanners write them with one decimal."""

TILT_TOLERANCE_MM = 1.0
"""Largest in-plane shift of a slice relative to the first one."""

PARALLEL_TOLERANCE = 1e-3
"""Largest difference between the direction cosines of two slices of a stack."""

SAME_PLACE_MM = 1e-3
REPAIR = (
    "Load it in 3D Slicer, which regularises such acquisitions, and segment there or save the "
    "result as NRRD."
)
INVERTED = "MONOCHROME1"
"""DICOM defines an inverted display only, but GDCM inverts the stored values."""

CONSTANT = {
    ROWS: "Rows",
    COLUMNS: "Columns",
    SAMPLES: "SamplesPerPixel",
    PHOTOMETRIC: "PhotometricInterpretation",
}
"""Tags that must be equal in all slices of a volume."""


@dataclass(frozen=True)
class Stack:
    """The slices of a volume.

    Attributes:
        slices: Headers, sorted by position.
        geometry: Grid of the volume.
    """

    slices: tuple[Header, ...]
    geometry: Geometry

    @property
    def files(self) -> list[str]:
        """File names, in the order of the slices."""
        return [str(header.path) for header in self.slices]

    @property
    def modality(self) -> str:
        """DICOM modality; empty if slices differ."""
        names = {header.modality for header in self.slices}
        return names.pop() if len(names) == 1 else ""

    @property
    def frame_uid(self) -> str:
        """Frame of Reference UID; empty if slices have none, or differ."""
        uids = {header.text(FRAME_UID) for header in self.slices}
        return uids.pop() if len(uids) == 1 else ""


def make_stack(headers: Sequence[Header]) -> Stack:
    """Sort slices by position.

    Args:
        headers: At least one, in any order.

    Raises:
        UserError: If a slice has no position, orientation or pixel spacing, or the slices do not
            form a regular grid.
    """
    _check_single_frames(headers)
    _check_constant(headers)
    spacing_yx_mm = _pixel_spacing(headers)
    positions_mm = np.array([_required_numbers(header, POSITION, 3) for header in headers])
    rows = np.array([_required_numbers(header, ORIENTATION, 6) for header in headers])
    direction_lps = _direction(headers, rows)
    heights_mm = positions_mm @ direction_lps[:, 2]
    order = np.argsort(heights_mm, kind="stable")
    positions_mm, heights_mm = positions_mm[order], heights_mm[order]
    step_mm = 1.0
    if len(headers) > 1:
        _check_grid(positions_mm, heights_mm, direction_lps[:, 2])
        step_mm = float(heights_mm[-1] - heights_mm[0]) / (len(headers) - 1)
    shape = (len(headers), *(int(headers[0].number(tag, 0)) for tag in (ROWS, COLUMNS)))
    first_lps_mm = tuple(positions_mm[0].tolist())
    geometry = Geometry(shape, (step_mm, *spacing_yx_mm), first_lps_mm, direction_lps)
    return Stack(tuple(headers[k] for k in order), geometry)


def _check_single_frames(headers: Sequence[Header]) -> None:
    for header in headers:
        if not header.is_multi_frame:
            continue
        kind = ENHANCED.get(header.text(SOP_CLASS), "multi-frame image")
        raise UserError(
            f"{header.path.name} is a DICOM file with several slices ({kind}, {header.frames} in "
            "all), whose positions cannot be read.",
            "Convert it to one file per slice or, with dcm2niix or 3D Slicer, to NIfTI or NRRD.",
        )


def _check_constant(headers: Sequence[Header]) -> None:
    for tag, name in CONSTANT.items():
        values = dict.fromkeys(header.text(tag) for header in headers)
        if len(values) > 1:
            first, other = list(values)[:2]
            raise UserError(
                f"The slices of the DICOM series differ in {name}: {first} and {other}.",
                "Choose a folder with one stack of equal slices.",
            )
    if headers[0].text(PHOTOMETRIC) == INVERTED:
        raise UserError(
            f"The slices of the DICOM series are stored as {INVERTED}, and their values would be "
            "read inverted.",
            "Export the series again as MONOCHROME2.",
        )
    for header in headers:
        _check_values(header)


def _check_values(header: Header) -> None:
    """Refuse a slice with an invalid pixel encoding, for which GDCM would use defaults.

    Slope and intercept may be absent. GDCM reads a slope of 0 as 1.
    """
    bits, signed = header.number(BITS_STORED, 0), header.number(SIGNED, -1)
    valid = {
        "BitsStored": 1 <= bits <= header.number(BITS_ALLOCATED, 0),
        "PixelRepresentation": signed in (0, 1),
        "RescaleSlope": header.number(SLOPE, 0.0 if header.text(SLOPE) else 1.0) != 0,
        "RescaleIntercept": not header.text(INTERCEPT) or bool(header.numbers(INTERCEPT)),
    }
    for name, is_valid in valid.items():
        if not is_valid:
            raise UserError(
                f"The slice {header.path.name} of the DICOM series has no valid {name}, so that "
                "its values are unknown.",
                "Export the series again.",
            )


def _pixel_spacing(headers: Sequence[Header]) -> tuple[float, float]:
    """Return the pixel spacing along y and x (DICOM: between rows, between columns)."""
    spacings_mm = [header.numbers(PIXEL_SPACING) for header in headers]
    if missing := sum(len(value) != 2 or min(value) <= 0 for value in spacings_mm):
        raise _no_pixel_spacing(headers, missing)
    spacing_mm = np.array(spacings_mm)
    size = max(int(headers[0].number(tag, 0)) for tag in (ROWS, COLUMNS))
    off_mm = np.abs(spacing_mm - spacing_mm[0]).max(axis=1) * size
    if off_mm.max() > ROUNDING_MM:
        first, other = (
            " x ".join(f"{v:g}" for v in spacing_mm[k]) for k in (0, int(off_mm.argmax()))
        )
        raise UserError(
            f"The slices of the DICOM series differ in PixelSpacing: {first} and {other} mm.",
            "Choose a folder with one stack of equal slices.",
        )
    return float(spacing_mm[0, 0]), float(spacing_mm[0, 1])


def _no_pixel_spacing(headers: Sequence[Header], missing: int) -> UserError:
    others = {IMAGER_SPACING: "ImagerPixelSpacing", NOMINAL_SPACING: "NominalScannedPixelSpacing"}
    present = [name for tag, name in others.items() if any(h.text(tag) for h in headers)]
    more = f"; {' and '.join(present)} is not the size in the patient" if present else ""
    return UserError(
        f"The DICOM series does not state its pixel size: {missing} of its {len(headers)} "
        f"slices have no valid PixelSpacing{more}.",
        "Export the series again, or load it in 3D Slicer, set the spacing and save it as NRRD.",
    )


def _direction(headers: Sequence[Header], rows: np.ndarray) -> np.ndarray:
    """Return the directions of the x, y and z axes as columns.

    Args:
        headers: The slices.
        rows: Their direction cosines, shape (slices, 6).
    """
    oblique = int((np.abs(rows - np.median(rows, axis=0)).max(axis=1) > PARALLEL_TOLERANCE).sum())
    if oblique:
        raise UserError(
            f"The DICOM series is not a stack: {oblique} of its {len(headers)} slices are not "
            "parallel to the others.",
            "Choose a folder with one stack of parallel slices.",
        )
    x, y = rows[0, :3], rows[0, 3:]
    if np.abs([x @ x - 1, y @ y - 1, x @ y]).max() > PARALLEL_TOLERANCE:
        raise UserError(
            "The ImageOrientationPatient of the DICOM series is not a pair of orthogonal "
            f"directions: {headers[0].text(ORIENTATION)}.",
            "Export the series again.",
        )
    x = x / np.linalg.norm(x)
    y = y - (x @ y) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def _check_grid(positions_mm: np.ndarray, heights_mm: np.ndarray, normal: np.ndarray) -> None:
    """Refuse a stack with coincident slices, uneven spacing or gantry tilt.

    Args:
        positions_mm: First voxel of each slice in LPS, shape (slices, 3), sorted.
        heights_mm: Positions along the normal.
        normal: Unit vector orthogonal to the slices.
    """
    distances_mm = np.diff(heights_mm)
    if shared := int((distances_mm < SAME_PLACE_MM).sum()):
        raise UserError(
            f"The DICOM series is not a stack: {shared} of its {len(heights_mm)} slices have the "
            "same position as another.",
            "Choose a folder with one time point and one echo, in which every slice has its own "
            "position.",
        )
    even_mm = np.linspace(heights_mm[0], heights_mm[-1], len(heights_mm))
    off_mm = np.abs(heights_mm - even_mm).max()
    if off_mm > max(ROUNDING_MM, OFF_GRID_TOLERANCE * np.median(distances_mm)):
        gaps_mm = np.linalg.norm(np.diff(positions_mm, axis=0), axis=1)
        raise UserError(
            f"The slices of the DICOM series are unevenly spaced: {gaps_mm.min():.2f} to "
            f"{gaps_mm.max():.2f} mm.",
            REPAIR,
        )
    shifts_mm = np.linalg.norm(np.cross(positions_mm - positions_mm[0], normal), axis=1)
    if shifts_mm.max() > TILT_TOLERANCE_MM:
        if shifts_mm.max() - shifts_mm[-1] > TILT_TOLERANCE_MM:
            raise UserError(
                f"Slices of the DICOM series are shifted by up to {shifts_mm.max():.1f} mm within "
                "their plane.",
                REPAIR,
            )
        angle = np.degrees(np.arctan2(shifts_mm[-1], heights_mm[-1] - heights_mm[0]))
        raise UserError(
            f"The DICOM series is tilted by {angle:.1f} degrees (gantry tilt): its slices are "
            "not stacked at right angles.",
            REPAIR,
        )


def _required_numbers(header: Header, tag: str, count: int) -> tuple[float, ...]:
    values = header.numbers(tag)
    if len(values) != count:
        raise UserError(
            f"The slice {header.path.name} of the DICOM series has no position or orientation.",
            "Export the series again.",
        )
    return values
