"""Export measurements as a DICOM SR (TID 1500) that refers to the segments of a DICOM SEG.

DICOM PS3.16, template "Measurement Report", written by highdicom. Every uncertainty is a further
number beside its value, with a private code, because the standard has no code for an expanded
uncertainty of a single value.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from spinemamba import __version__
from spinemamba.anatomy.labels import BY_NAME
from spinemamba.anatomy.terminology import PLAIN_VERTEBRA, PRIVATE_SCHEME, meaning
from spinemamba.common.errors import UserError
from spinemamba.common.progress import Warn
from spinemamba.export.dicom_source import patient_values_suppressed, read_sources
from spinemamba.imaging.dicom_seg_file import highdicom_module
from spinemamba.imaging.formats.dicom import find_stack
from spinemamba.protocol.measurements import Item, Measurements
from spinemamba.protocol.quantities import BY_KEY, Quantity

_SERIES_NUMBER = 9003
_SERIES_DESCRIPTION = "Spine measurements (SpineMamba Segment, research use)"
_UNITS = {
    "mm": ("mm", "millimeter"),
    "mL": ("ml", "milliliter"),
    "HU": ("[hnsf'U]", "Hounsfield unit"),
    "mg/mL": ("mg/ml", "milligram per milliliter"),
    "deg": ("deg", "degree"),
    "%": ("%", "percent"),
    "": ("1", "no units"),
}
"""UCUM codes of the units."""

_PROCEDURE = ("18748-4", "LN", "Diagnostic imaging study")
_FINDINGS = {
    "disc": ("360499006", "SCT", "Structure of intervertebral disc"),
    "angle": ("ANGLE", PRIVATE_SCHEME, "Angle of the spine"),
    "curve": ("CURVE", PRIVATE_SCHEME, "Curve of the spine"),
}
_LONGEST_CODE = 16
_LONGEST_TEXT = 1024


def write_measurement_report(
    measured: Measurements,
    series: Path,
    segmentation: Path,
    path: Path,
    *,
    warn: Warn = lambda message: None,
) -> None:
    """Write all measurements that are not missing.

    Args:
        measured: The measurements.
        series: Folder of the segmented series, or one of its files.
        segmentation: DICOM SEG of the vertebrae; those without a segment are written without a
            reference.
        path: File to write; not atomic, so callers pass a path from `atomic_files`.
        warn: Called with each warning about the series.

    Raises:
        UserError: If highdicom is missing (DEPENDENCY_MISSING), the series cannot be read, or
            highdicom refuses its attributes.
    """
    highdicom = highdicom_module()
    with patient_values_suppressed():
        sources = read_sources(find_stack(series, warn), warn)
        segments = highdicom.seg.segread(segmentation)
        try:
            path.write_bytes(_encoded(highdicom, measured, sources, segments))
        # The message of the error may contain patient data.
        except Exception as error:
            raise UserError(
                "No DICOM SR can be made of this series: highdicom refuses it "
                f"({type(error).__name__}).",
                "Choose the series as it came from the archive.",
            ) from None


def _encoded(
    highdicom: ModuleType, measured: Measurements, sources: Sequence[Any], segments: Any
) -> bytes:
    sr = highdicom.sr
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=highdicom.UID(), name="SpineMamba Segment", model_name=__version__
    )
    observer = sr.ObserverContext(
        observer_type=_code(highdicom, "121007", "DCM", "Device"),
        observer_identifying_attributes=device,
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=_code(highdicom, *_PROCEDURE),
        imaging_measurements=list(_groups(highdicom, measured, segments)),
        title=_code(highdicom, "126000", "DCM", "Imaging Measurement Report"),
    )
    for text in (*measured.alerts, *measured.notes):
        comment = sr.TextContentItem(
            name=_code(highdicom, "121106", "DCM", "Comment"),
            value=text[:_LONGEST_TEXT],
            relationship_type=sr.RelationshipTypeValues.CONTAINS,
        )
        report[0].ContentSequence.append(comment)
    dataset = sr.ComprehensiveSR(
        evidence=[*sources, segments],
        content=report[0],
        series_instance_uid=highdicom.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="SpineMamba",
        is_complete=True,
    )
    dataset.SeriesDescription = _SERIES_DESCRIPTION
    dataset.save_as(buffer := io.BytesIO())
    return buffer.getvalue()


def _groups(highdicom: ModuleType, measured: Measurements, segments: Any) -> Iterator[Any]:
    """Yield a group of measurements for every item with a value."""
    sr = highdicom.sr
    numbers = {part.SegmentLabel: part.SegmentNumber for part in segments.SegmentSequence}
    for item in measured.items:
        found = list(_measurements(highdicom, item))
        if not found:
            continue
        name = f"{item.name} {item.view}".strip()
        tracking = sr.TrackingIdentifier(uid=highdicom.UID(), identifier=name)
        finding = _code(highdicom, *_finding(item))
        if item.kind == "vertebra" and item.name in numbers:
            yield sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=tracking,
                referenced_segment=sr.ReferencedSegment.from_segmentation(
                    segments, numbers[item.name]
                ),
                finding_type=finding,
                measurements=found,
            )
        else:
            yield sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=tracking, finding_type=finding, measurements=found
            )


def _finding(item: Item) -> tuple[str, str, str]:
    if item.kind != "vertebra":
        return _FINDINGS[item.kind]
    label = BY_NAME[item.name]
    if label.snomed is not None:
        return label.snomed, "SCT", meaning(label)
    scheme, value, words = PLAIN_VERTEBRA.split("^")
    return value, scheme, words


def _measurements(highdicom: ModuleType, item: Item) -> Iterator[Any]:
    """Yield the values of an item, each followed by its uncertainty."""
    for key, value in item.values.items():
        if value is None:
            continue
        quantity = BY_KEY[key]
        unit = _code(highdicom, _UNITS[quantity.unit][0], "UCUM", _UNITS[quantity.unit][1])
        yield highdicom.sr.Measurement(
            name=_name(highdicom, quantity, ""), value=_rounded(value), unit=unit
        )
        if (width := item.uncertainties.get(key)) is not None:
            yield highdicom.sr.Measurement(
                name=_name(highdicom, quantity, "U"), value=_rounded(width), unit=unit
            )


def _name(highdicom: ModuleType, quantity: Quantity, prefix: str) -> Any:
    """Return the code of a quantity, or of its uncertainty with the prefix "U"."""
    if quantity.key == "volume_ml" and not prefix:
        return _code(highdicom, "118565006", "SCT", "Volume")
    # A code has at most 16 characters: the words of the key without their vowels.
    short = "".join(c for c in quantity.key.upper() if c not in "AEIOU_")
    words = f"{quantity.head}{' of the disc' if 'disc' in quantity.key else ''}"
    text = f"Uncertainty (95 %) of {words}" if prefix else words.capitalize()
    return _code(highdicom, f"{prefix}{short}"[:_LONGEST_CODE], PRIVATE_SCHEME, text)


def _rounded(value: float) -> float:
    """Return a value that fits in the 16 characters of a decimal string."""
    return round(value, 4)


def _code(highdicom: ModuleType, value: str, scheme: str, words: str) -> Any:
    return highdicom.sr.CodedConcept(value, scheme, words)
