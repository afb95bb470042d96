"""Find and read a DICOM series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spinemamba.errors import UserError

OFF_GRID_TOLERANCE = 0.02
"""How far a slice may lie from its even place, in slice distances; a missing one is off by 0.5."""

ROUNDING_MM = 0.1
"""Some scanners write positions with one decimal; so much off its place is always well."""

TILT_TOLERANCE_MM = 1.0
"""Largest shift of the last slice within its plane, against the first."""

PARALLEL_TOLERANCE = 1e-3
"""Largest difference between the direction cosines of two slices of a stack."""

POSITION, ORIENTATION = "0020|0032", "0020|0037"
IMAGE_TYPE, MODALITY = "0008|0008", "0008|0060"
READABLE = ("CT", "MR", "OT")
REPAIR = (
    "Load it in 3D Slicer, which regularises such acquisitions, and segment there or save the "
    "result as NRRD."
)


def read_series(path: Path, warn: Callable[[str], None]) -> sitk.Image:
    """Read the largest image series of a folder.

    Args:
        path: Folder, or a file of the series.
        warn: Told if other series or damaged files were left out.

    Returns:
        The image, slices in order of their positions.

    Raises:
        UserError: If there is no series of CT or MR slices, or its slices share places, are
            tilted or unevenly spaced, so that no regular grid holds them.
    """
    series = series_files(path, warn)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(series)
    try:
        return reader.Execute()
    except RuntimeError as error:
        raise UserError(
            f"The DICOM series of {len(series)} slices cannot be read: a slice is damaged, or "
            "slices differ in size.",
            "Export the series again.",
        ) from error


def series_files(path: Path, warn: Callable[[str], None]) -> list[str]:
    """Return the files of a series in the order of the slices of its image; as `read_series`."""
    folder = path if path.is_dir() else path.parent
    series = _largest_series(folder, path if path.is_file() else None, warn)
    _check_positions(series)
    return series


def _largest_series(folder: Path, wanted: Path | None, warn: Callable[[str], None]) -> list[str]:
    """Return the sorted files of the series with most slices, or of the wanted file's series."""
    ids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    found = [list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), i)) for i in ids]
    chosen = [files for files in found if wanted is None or wanted.name in _names(files)]
    images = [files for files in chosen if _is_image(files[0])]
    if not images:
        raise UserError(
            f"No CT or MR series found in {folder} ({len(chosen)} series of other kinds).",
            "Choose the folder that holds the slices of one series.",
        )
    images.sort(key=len, reverse=True)
    _tell_left_out(folder, found, warn)
    if len(images) > 1:
        warn(
            f"The folder holds {len(images)} series; the largest, with {len(images[0])} slices, "
            "is used."
        )
    return images[0]


def _names(files: list[str]) -> set[str]:
    return {Path(file).name for file in files}


def _tell_left_out(folder: Path, found: list[list[str]], warn: Callable[[str], None]) -> None:
    """Warn of files that belong to no series: a damaged one at an end leaves no gap."""
    dicom = {path.name for path in folder.iterdir() if path.suffix.lower() == ".dcm"}
    lost = dicom.difference(*map(_names, found))
    if lost:
        warn(
            f"{len(lost)} of {len(dicom)} .dcm files in the folder hold no readable image and "
            "were left out."
        )


def _is_image(file: str) -> bool:
    """Return whether a file is a slice of a CT or MR, and no localiser."""
    header = _header(file)
    kind = header.get(IMAGE_TYPE, "").upper()
    return header.get(MODALITY, "OT").strip() in READABLE and "LOCALIZER" not in kind


def _header(file: str) -> dict[str, str]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.LoadPrivateTagsOff()
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return {MODALITY: ""}
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


def _check_positions(files: list[str]) -> None:
    """Refuse slices that no regular grid holds; say by how much they are off."""
    headers = [_header(file) for file in files]
    places_mm = np.array([_numbers(header, POSITION, 3) for header in headers])
    rows = np.array([_numbers(header, ORIENTATION, 6) for header in headers])
    turned = int((np.abs(rows - rows[0]).max(axis=1) > PARALLEL_TOLERANCE).sum())
    if turned:
        raise UserError(
            f"The DICOM series is no stack: {turned} of its {len(files)} slices are not parallel "
            "to the first.",
            "Choose a folder with one stack of parallel slices.",
        )
    distances_mm = np.linalg.norm(np.diff(places_mm, axis=0), axis=1)
    shared = int((distances_mm < 1e-3).sum())
    if shared:
        raise UserError(
            f"The DICOM series is no stack: {shared} of its {len(files)} slices lie at the same "
            "place as another.",
            "Choose a folder with one time point and one echo, in which every slice has its "
            "position.",
        )
    if len(files) > 1:
        _check_grid(places_mm, distances_mm, np.cross(rows[0, :3], rows[0, 3:]))


def _check_grid(places_mm: np.ndarray, distances_mm: np.ndarray, normal: np.ndarray) -> None:
    """Refuse a stack that is uneven or tilted.

    Args:
        places_mm: First voxel of each slice in LPS, shape (slices, 3).
        distances_mm: From each slice to the next.
        normal: Direction at right angles to the slices.
    """
    heights_mm = places_mm @ normal
    even_mm = np.linspace(heights_mm[0], heights_mm[-1], len(heights_mm))
    off_mm = np.abs(heights_mm - even_mm).max()
    if off_mm > max(ROUNDING_MM, OFF_GRID_TOLERANCE * np.median(distances_mm)):
        raise UserError(
            f"The slices of the DICOM series are unevenly spaced: {distances_mm.min():.2f} to "
            f"{distances_mm.max():.2f} mm.",
            REPAIR,
        )
    drift_mm = places_mm[-1] - places_mm[0]
    tilt_mm = np.linalg.norm(np.cross(drift_mm, normal))
    if tilt_mm > TILT_TOLERANCE_MM:
        angle = np.degrees(np.arctan2(tilt_mm, abs(drift_mm @ normal)))
        raise UserError(
            f"The DICOM series is tilted by {angle:.1f} degrees (gantry tilt): its slices are "
            "not stacked at right angles.",
            REPAIR,
        )


def _numbers(header: dict[str, str], tag: str, count: int) -> list[float]:
    """Return the numbers of a DICOM field."""
    try:
        values = [float(v) for v in header.get(tag, "").split("\\")]
    except ValueError:
        values = []
    if len(values) != count:
        raise UserError(
            "A slice of the DICOM series has no position or orientation.",
            "Export the series again.",
        )
    return values
