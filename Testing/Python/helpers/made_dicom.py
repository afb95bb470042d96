"""Small DICOM series with right tags, and what an independent library reads from them."""

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

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = CT, f"{series}.{k + 1}"
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.Modality, made.SeriesNumber, made.InstanceNumber = "CT", 3, k + 1
    made.PatientName, made.PatientID = "Made^Up", "made-1"
    made.PatientBirthDate, made.PatientSex = "19700102", "F"
    made.StudyID, made.StudyDate, made.StudyTime = "7", "20200102", "120000"
    made.AccessionNumber, made.ReferringPhysicianName = "8", "Made^Too"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", series
    made.FrameOfReferenceUID = "1.2.3.9"
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    made.PixelRepresentation = int(pixels.dtype == np.int16)
    made.PixelSpacing = [BETWEEN_ROWS_MM, BETWEEN_COLUMNS_MM]
    made.SliceThickness = 3.0
    x, y, z = ORIGIN_LPS_MM
    made.ImagePositionPatient = [x, y, z + STEP_MM * k]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.RescaleSlope, made.RescaleIntercept = 1, INTERCEPT
    made.PixelData = pixels.tobytes()
    return made


def write_series(
    folder: Path,
    stored: np.ndarray | None = None,
    edit: Edit = lambda k, made: None,
    series: str = SERIES,
) -> np.ndarray:
    """Write a series whose file names say nothing about the order; return its stored values.

    Args:
        folder: Is made.
        stored: 16-bit values; `stored_values` if None.
        edit: Changes the data set of each slice.
        series: SeriesInstanceUID.
    """
    folder.mkdir(exist_ok=True, parents=True)
    stored = stored_values() if stored is None else stored
    for k, pixels in enumerate(stored):
        made = make_slice(k, pixels, series)
        edit(k, made)
        save(made, folder / f"{series}-{(k * 7) % len(stored):03d}.dcm")
    return stored


def save(made: Any, path: Path) -> None:
    """Write a data set, also one with values that DICOM does not allow."""
    import warnings

    from pydicom import config

    made.file_meta.MediaStorageSOPClassUID = made.get("SOPClassUID") or CT
    made.file_meta.MediaStorageSOPInstanceUID = made.get("SOPInstanceUID") or "1.2"
    before, config.settings.writing_validation_mode = (
        config.settings.writing_validation_mode,
        config.IGNORE,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.save_as(path, enforce_file_format=True)
    finally:
        config.settings.writing_validation_mode = before


def put(**values: object) -> Edit:
    """Return an edit that sets attributes in every slice, or deletes those that are None."""

    def edit(k: int, made: Any) -> None:
        for keyword, value in values.items():
            if value is None:
                if keyword in made:
                    delattr(made, keyword)
            else:
                put_raw(made, keyword, value)

    return edit


def put_raw(made: Any, keyword: str, value: object) -> None:
    """Set an attribute without any check of its value."""
    from pydicom import config
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import DataElement

    tag = tag_for_keyword(keyword)
    vr = dictionary_VR(tag)
    if " or " in vr:
        vr = "SS" if made.PixelRepresentation else "US"
    if isinstance(value, str) and vr in ("DS", "IS", "DA", "TM", "AS"):
        # Text that is not of the type: as bytes it is written unseen.
        element = DataElement(tag, "LO", value, validation_mode=config.IGNORE)
        element.VR = vr
    else:
        element = DataElement(tag, vr, value, validation_mode=config.IGNORE)
    made[tag] = element


def expected(files: Sequence[Path]) -> tuple[np.ndarray, tuple[float, ...], tuple[float, ...]]:
    """Return values, spacing (z, y, x) and first position as pydicom reads them.

    Args:
        files: Parallel slices, in any order.
    """
    import pydicom

    read = [pydicom.dcmread(path) for path in files]
    for made in read:
        # Where the file does not say how it is encoded, it is as `make_slice` does.
        if "TransferSyntaxUID" not in made.file_meta:
            made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    row, column = np.array(read[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    read.sort(key=lambda made: float(np.array(made.ImagePositionPatient, float) @ normal))
    places = np.array([made.ImagePositionPatient for made in read], float)
    values = [
        made.pixel_array * float(made.get("RescaleSlope") or 1)
        + float(made.get("RescaleIntercept") or 0)
        for made in read
    ]
    step_mm = float((places[-1] - places[0]) @ normal) / (len(read) - 1)
    spacing_mm = (step_mm, *(float(value) for value in read[0].PixelSpacing))
    return np.array(values), spacing_mm, tuple(places[0])
