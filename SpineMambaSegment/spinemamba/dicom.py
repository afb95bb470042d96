"""Find and read a DICOM series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spinemamba.errors import UserError

SPACING_TOLERANCE = 0.02
"""Largest deviation of a slice distance from the median, relative; more is a gap."""

TILT_TOLERANCE = 0.01
"""Largest shift within the slice plane per millimetre from slice to slice."""

POSITION, IMAGE_TYPE, MODALITY = "0020|0032", "0008|0008", "0008|0060"
READABLE = ("CT", "MR", "OT", "PT")
REPAIR = (
    "Load it in 3D Slicer, which regularises such acquisitions, and segment there or save the "
    "result as NRRD."
)


def read_series(path: Path, warn: Callable[[str], None]) -> sitk.Image:
    """Read the largest image series of a folder.

    Args:
        path: Folder, or a file of the series.
        warn: Told if other series were left out.

    Returns:
        The image, slices in order of their positions.

    Raises:
        UserError: If there is no series of CT or MR slices, or its slices are tilted or
            unevenly spaced, so that no regular grid holds them.
    """
    folder = path if path.is_dir() else path.parent
    series = _largest_series(folder, path if path.is_file() else None, warn)
    _check_positions(series)
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


def _largest_series(folder: Path, wanted: Path | None, warn: Callable[[str], None]) -> list[str]:
    """Return the sorted files of the series with most slices, or of the wanted file's series."""
    ids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    found = [list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), i)) for i in ids]
    if wanted is not None:
        found = [
            files for files in found if wanted.absolute() in map(Path.absolute, map(Path, files))
        ]
    images = [files for files in found if _is_image(files[0])]
    if not images:
        raise UserError(
            f"No CT or MR series found in {folder} ({len(found)} series of other kinds).",
            "Choose the folder that holds the slices of one series.",
        )
    images.sort(key=len, reverse=True)
    if len(images) > 1:
        warn(
            f"The folder holds {len(images)} series; the largest, with {len(images[0])} slices, "
            "is used."
        )
    return images[0]


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
    positions = []
    for file in files:
        text = _header(file).get(POSITION, "")
        if len(text.split("\\")) != 3:
            raise UserError(
                "A slice of the DICOM series has no position.", "Export the series again."
            )
        positions.append([float(v) for v in text.split("\\")])
    steps = np.diff(np.array(positions), axis=0)  # (slices - 1, 3)
    if not len(steps):
        return
    distances = np.linalg.norm(steps, axis=1)
    usual = float(np.median(distances))
    if np.abs(distances - usual).max() > SPACING_TOLERANCE * max(usual, 1e-6):
        raise UserError(
            f"The slices of the DICOM series are unevenly spaced: {distances.min():.2f} to "
            f"{distances.max():.2f} mm.",
            REPAIR,
        )
    normal = _normal(files[0])
    tilt = np.linalg.norm(np.cross(steps.mean(axis=0), normal)) / max(usual, 1e-6)
    if tilt > TILT_TOLERANCE:
        angle = np.degrees(np.arcsin(min(1.0, tilt)))
        raise UserError(
            f"The DICOM series is tilted by {angle:.1f} degrees (gantry tilt): its slices are "
            "not stacked at right angles.",
            REPAIR,
        )


def _normal(file: str) -> np.ndarray:
    """Return the direction at right angles to a slice, in LPS."""
    values = [float(v) for v in _header(file)["0020|0037"].split("\\")]
    return np.cross(values[:3], values[3:])
