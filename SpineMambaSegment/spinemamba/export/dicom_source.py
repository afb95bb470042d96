"""Attributes that derived DICOM instances copy from their source slices, if they are valid.

Anonymisation tools delete attributes, or write values that their type does not allow. Attributes
that may be empty (type 2) become empty, others are omitted. Messages never contain values, because
most of them are patient data.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

from spinemamba import __version__
from spinemamba.common.errors import UserError
from spinemamba.common.progress import Warn
from spinemamba.imaging.formats.dicom_header import ORIENTATION, PIXEL_SPACING, POSITION
from spinemamba.imaging.formats.dicom_stack import Stack

_IDENTIFIERS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
)
_MAY_BE_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Type 2 attributes of patient and study: required, but may be empty."""

_SEXES = ("", "M", "F", "O")
_PATIENT_GROUPS = (0x0008, 0x0010, 0x0012, 0x0032, 0x0040)
"""Groups of the attributes of patient, study and trial. StudyID is in another group."""

_OF_THE_STUDY = (
    *_MAY_BE_EMPTY,
    "SpecificCharacterSet",
    "StudyInstanceUID",
    "StudyDescription",
    "PatientAge",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
)
"""Attributes of patient and study that a derived instance repeats."""

_OF_THE_SLICE = ("SpecificCharacterSet", "Modality", *_IDENTIFIERS)
_UTF8 = "ISO_IR 192"
_SLICE_THICKNESS = "0018|0050"
_MOST_UID = 64


@contextmanager
def patient_values_suppressed() -> Iterator[None]:
    """Suppress logs of pydicom and highdicom, and let them accept invalid identifiers.

    A reference must contain the identifier of the archive, even if it is not valid.
    """
    from pydicom import config

    settings = config.settings
    before = settings.writing_validation_mode
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    settings.writing_validation_mode = config.WARN
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        settings.writing_validation_mode = before
        logging.disable(disabled)


def read_sources(stack: Stack, warn: Warn) -> list[Any]:
    """Return a pydicom dataset for each slice: identifiers, geometry, patient and study.

    Args:
        stack: The series.
        warn: Called with a warning about invalid attributes, or several frames of reference.

    Raises:
        UserError: If a slice cannot be read, or has no valid identifier, because some
            anonymisation tools remove them.
    """
    sources = [_read(header.path) for header in stack.slices]
    _check_identity(sources)
    patient, invalid = _patient(sources[0])
    if invalid:
        warn(
            f"The series holds invalid values of {', '.join(sorted(invalid))}; the DICOM SEG is "
            "written without them."
        )
    frames = {source.FrameOfReferenceUID for source in sources}
    if len(frames) > 1:
        warn(
            f"The {len(sources)} slices name {len(frames)} frames of reference; that of the first "
            "slice is used for all."
        )
    return [_source(patient, source, sources[0], stack, k) for k, source in enumerate(sources)]


def new_dataset(source: Any, sop_class: str, modality: str, series_number: int) -> Any:
    """Return a dataset in a new series of the study of a slice, with patient and study.

    Args:
        source: A slice from `read_sources`.
        sop_class: SOPClassUID.
        modality: Modality of the new series.
        series_number: Its number.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    now, dataset = datetime.now(), Dataset()
    for keyword in _OF_THE_STUDY:
        if keyword in source:
            dataset[keyword] = deepcopy(source[keyword])
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = modality, series_number, 1
    dataset.InstanceCreationDate = dataset.SeriesDate = dataset.ContentDate = f"{now:%Y%m%d}"
    dataset.InstanceCreationTime = dataset.SeriesTime = dataset.ContentTime = f"{now:%H%M%S}"
    dataset.Manufacturer = "SpineMamba"
    dataset.ManufacturerModelName = "SpineMamba Segment"
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = __version__, "none"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def dicom_bytes(dataset: Any) -> bytes:
    """Return a dataset with file meta information as the bytes of a file."""
    dataset.save_as(buffer := io.BytesIO(), enforce_file_format=True)
    return buffer.getvalue()


def slice_thickness_mm(stack: Stack) -> float:
    """Return the slice thickness of the first slice, or the slice distance if it is not stated."""
    stated_mm = stack.slices[0].number(_SLICE_THICKNESS, 0.0)
    return stated_mm if stated_mm > 0 else stack.geometry.spacing_mm[0]


def _read(path: Path) -> Any:
    import pydicom

    try:
        return pydicom.dcmread(path, stop_before_pixels=True, force=True)
    # pydicom raises errors of many types for damaged files.
    except Exception:
        raise UserError(
            f"The slice {path.name} cannot be read by pydicom.", "Export the series again."
        ) from None


def _value(source: Any, keyword: str) -> str:
    """Return the text of an attribute; empty if it is absent or cannot be decoded."""
    try:
        value = source.get(keyword)
    except Exception:  # pydicom raises errors of many types for damaged bytes
        return ""
    return "" if value is None else str(value)


def _check_identity(sources: Sequence[Any]) -> None:
    for name in _IDENTIFIERS:
        values = [_value(source, name) for source in sources]
        missing = sum(not _is_uid(value) for value in values)
        if missing:
            raise UserError(
                f"{missing} of the {len(sources)} slices have no {name}, so that no DICOM SEG can "
                "refer to them.",
                "Choose the series as it came from the archive.",
            )
        if name == "SOPInstanceUID" and len(set(values)) < len(values):
            raise UserError(
                "Slices of the series have the same SOPInstanceUID, so that no DICOM SEG can "
                "refer to them.",
                "Choose the series as it came from the archive.",
            )
        if name in ("SOPClassUID", "StudyInstanceUID") and len(set(values)) > 1:
            raise UserError(
                f"The slices of the series have {len(set(values))} values of {name}.",
                "Choose the series as it came from the archive.",
            )


def _is_uid(value: str) -> bool:
    return 0 < len(value) <= _MOST_UID and not set(value) - set("0123456789.")


def _patient(source: Any) -> tuple[Any, set[str]]:
    """Return the valid attributes of patient and study, and the keywords of invalid ones."""
    from pydicom.datadict import keyword_for_tag
    from pydicom.dataset import Dataset

    patient, invalid = Dataset(), set()
    for tag in source.keys():  # noqa: SIM118 - iterating decodes, which may raise
        keyword = keyword_for_tag(tag)
        of_patient = tag.group in _PATIENT_GROUPS or keyword == "StudyID"
        if not of_patient or not keyword or keyword in _OF_THE_SLICE:
            continue
        element = _decoded(source, tag)
        if element is not None and _is_valid(element):
            patient.add(element)
        else:
            invalid.add(keyword)
    for keyword in _MAY_BE_EMPTY:
        if keyword not in patient:
            setattr(patient, keyword, "")
    # The text is decoded now, and is written as UTF-8.
    patient.SpecificCharacterSet = _UTF8
    return patient, invalid


def _decoded(source: Any, tag: Any) -> Any | None:
    try:
        return source[tag]
    except Exception:  # pydicom raises errors of many types for damaged bytes
        return None


def _is_valid(element: Any) -> bool:
    """Return whether the value is valid for its value representation; recursive in sequences."""
    from pydicom import config
    from pydicom.datadict import dictionary_VM
    from pydicom.multival import MultiValue
    from pydicom.valuerep import DA, IS, TM, DSfloat, validate_value

    value = element.value
    if element.VR == "SQ":
        return all(_is_valid(part) for item in value for part in item)
    if value is None or value == "":
        return True
    parts = list(value) if isinstance(value, MultiValue) else [value]
    if len(parts) > 1 and dictionary_VM(element.tag) == "1":
        return False
    kinds = {"DA": DA, "TM": TM, "IS": IS, "DS": DSfloat}
    try:
        for part in parts:
            text = str(part)
            validate_value(element.VR, text, config.RAISE)
            if element.VR in kinds:
                kinds[element.VR](text)
            if "�" in text or (element.keyword == "PatientSex" and text not in _SEXES):
                return False
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _source(patient: Any, source: Any, first: Any, stack: Stack, k: int) -> Any:
    """Return the dataset of one slice.

    Args:
        patient: Attributes of patient and study, for all slices.
        source: The slice.
        first: The first slice, whose frame of reference and orientation are used for all.
        stack: The series.
        k: Index of the slice in the series.
    """
    from pydicom.valuerep import DSfloat

    dataset = deepcopy(patient)
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, _value(source, keyword))
    dataset.FrameOfReferenceUID = _value(first, "FrameOfReferenceUID")
    dataset.Modality = stack.modality or "OT"
    dataset.Rows, dataset.Columns = stack.geometry.shape[1:]
    numbers = {
        "SliceThickness": (slice_thickness_mm(stack),),
        "PixelSpacing": stack.slices[0].numbers(PIXEL_SPACING),
        "ImageOrientationPatient": stack.slices[0].numbers(ORIENTATION),
        "ImagePositionPatient": stack.slices[k].numbers(POSITION),
    }
    for keyword, values in numbers.items():
        # DICOM limits decimal strings to 16 characters.
        texts = [DSfloat(value, auto_format=True) for value in values]
        setattr(dataset, keyword, texts if len(texts) > 1 else texts[0])
    return dataset
