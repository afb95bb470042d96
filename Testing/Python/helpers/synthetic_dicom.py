"""Small valid DICOM series, and their volume as read by pydicom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

CT = "1.2.840.10008.5.1.4.1.1.2"
SERIES = "1.2.3.4"
SLICES, ROWS, COLUMNS = 12, 10, 14
STEP_MM, BETWEEN_ROWS_MM, BETWEEN_COLUMNS_MM = 2.0, 1.5, 0.75
ORIGIN_LPS_MM = (5.0, -6.0, 7.0)
INTERCEPT = -1024

Edit = Callable[[int, Any], None]


def stored_values(seed: int = 1) -> np.ndarray:
    """Return stored values of a series, uint16 (slices, rows, columns)."""
    values = np.random.default_rng(seed).integers(0, 2500, (SLICES, ROWS, COLUMNS))
    return values.astype(np.uint16)


def make_slice(k: int, pixels: np.ndarray, series: str = SERIES) -> Any:
    """Return the data set of a slice.

    Args:
        k: Number of the slice in its series, from its lower end.
        pixels: Stored values, 16 bits, (rows, columns).
        series: SeriesInstanceUID.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = CT, f"{series}.{k + 1}"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Modality, data.SeriesNumber, data.InstanceNumber = "CT", 3, k + 1
    data.PatientName, data.PatientID = "Made^Up", "made-1"
    data.PatientBirthDate, data.PatientSex = "19700102", "F"
    data.StudyID, data.StudyDate, data.StudyTime = "7", "20200102", "120000"
    data.AccessionNumber, data.ReferringPhysicianName = "8", "Made^Too"
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", series
    data.FrameOfReferenceUID = "1.2.3.9"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = int(pixels.dtype == np.int16)
    data.PixelSpacing = [BETWEEN_ROWS_MM, BETWEEN_COLUMNS_MM]
    data.SliceThickness = 3.0
    x, y, z = ORIGIN_LPS_MM
    data.ImagePositionPatient = [x, y, z + STEP_MM * k]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.RescaleSlope, data.RescaleIntercept = 1, INTERCEPT
    data.PixelData = pixels.tobytes()
    return data


def write_series(
    folder: Path,
    stored: np.ndarray | None = None,
    edit: Edit = lambda k, data: None,
    series: str = SERIES,
) -> np.ndarray:
    """Write a series with file names in no order; return its stored values.

    Args:
        folder: Created if missing.
        stored: 16-bit values; `stored_values` if None.
        edit: Changes the data set of each slice.
        series: SeriesInstanceUID.
    """
    folder.mkdir(exist_ok=True, parents=True)
    stored = stored_values() if stored is None else stored
    for k, pixels in enumerate(stored):
        data = make_slice(k, pixels, series)
        edit(k, data)
        save(data, folder / f"{series}-{(k * 7) % len(stored):03d}.dcm")
    return stored


def save(data: Any, path: Path) -> None:
    """Write a data set, even with invalid values."""
    import warnings

    from pydicom import config

    data.file_meta.MediaStorageSOPClassUID = data.get("SOPClassUID") or CT
    data.file_meta.MediaStorageSOPInstanceUID = data.get("SOPInstanceUID") or "1.2"
    before, config.settings.writing_validation_mode = (
        config.settings.writing_validation_mode,
        config.IGNORE,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data.save_as(path, enforce_file_format=True)
    finally:
        config.settings.writing_validation_mode = before


def put(**values: object) -> Edit:
    """Return an edit that sets attributes in every slice, or deletes those that are None."""

    def edit(k: int, data: Any) -> None:
        for keyword, value in values.items():
            if value is None:
                if keyword in data:
                    delattr(data, keyword)
            else:
                put_raw(data, keyword, value)

    return edit


def put_raw(data: Any, keyword: str, value: object) -> None:
    """Set an attribute without any check of its value."""
    from pydicom import config
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import DataElement

    tag = tag_for_keyword(keyword)
    vr = dictionary_VR(tag)
    if " or " in vr:
        vr = "SS" if data.PixelRepresentation else "US"
    if isinstance(value, str) and vr in ("DS", "IS", "DA", "TM", "AS"):
        # Text that is invalid for its type: pydicom writes it unchecked as another type.
        element = DataElement(tag, "LO", value, validation_mode=config.IGNORE)
        element.VR = vr
    else:
        element = DataElement(tag, vr, value, validation_mode=config.IGNORE)
    data[tag] = element


def expected(files: Sequence[Path]) -> tuple[np.ndarray, tuple[float, ...], tuple[float, ...]]:
    """Return values, spacing (z, y, x) and first position as pydicom reads them.

    Args:
        files: Parallel slices, in any order.
    """
    import pydicom

    read = [pydicom.dcmread(path) for path in files]
    for data in read:
        # A file without a transfer syntax has the one of `make_slice`.
        if "TransferSyntaxUID" not in data.file_meta:
            data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    row, column = np.array(read[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    read.sort(key=lambda data: float(np.array(data.ImagePositionPatient, float) @ normal))
    places = np.array([data.ImagePositionPatient for data in read], float)
    values = [
        data.pixel_array * float(data.get("RescaleSlope") or 1)
        + float(data.get("RescaleIntercept") or 0)
        for data in read
    ]
    step_mm = float((places[-1] - places[0]) @ normal) / (len(read) - 1)
    spacing_mm = (step_mm, *(float(value) for value in read[0].PixelSpacing))
    return np.array(values), spacing_mm, tuple(places[0])
