"""Export vertebrae as a DICOM RT Structure Set, written by pydicom.

DICOM PS3.3 A.19. The contours lie in the slices of the series, half way between voxel centres
inside and outside, so that the centres inside an odd number of contours are the voxels of the
label: a contour within another one is a hole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from skimage.measure import find_contours

from spinemamba.anatomy.labels import BY_NAME, ORDER
from spinemamba.anatomy.terminology import PLAIN_VERTEBRA, meaning
from spinemamba.common.progress import Warn
from spinemamba.export.dicom_seg import segment_numbers
from spinemamba.export.dicom_source import (
    dicom_bytes,
    new_dataset,
    patient_values_suppressed,
    read_sources,
)
from spinemamba.export.item import Vertebra
from spinemamba.imaging.formats.dicom import find_stack
from spinemamba.imaging.formats.dicom_stack import Stack
from spinemamba.imaging.volume import Geometry

_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
_SERIES_NUMBER = 9002
_DIGITS = 3
"""Decimals of coordinates in mm; a decimal string has at most 16 characters."""


def write_contours(
    vertebrae: Sequence[Vertebra], series: Path, path: Path, *, warn: Warn = lambda message: None
) -> list[str]:
    """Write an RT Structure Set with one structure per vertebra, from cranial to caudal.

    Args:
        vertebrae: Vertebrae on the grid of the series.
        series: Folder of the source series, or one of its files.
        path: File to write; not atomic, so callers pass a path from `atomic_files`.
        warn: Called with each warning about the series.

    Returns:
        The written levels.

    Raises:
        UserError: If the series cannot be read, or vertebrae are not on its grid or overlap.
    """
    stack = find_stack(series, warn)
    ordered = sorted(vertebrae, key=lambda v: ORDER[v.level])
    numbers, present = segment_numbers(ordered, stack.geometry)
    with patient_values_suppressed():
        sources = read_sources(stack, warn)
        dataset = new_dataset(sources[0], _SOP_CLASS, "RTSTRUCT", _SERIES_NUMBER)
        dataset.SeriesDescription = "Vertebrae (SpineMamba Segment, research use)"
        dataset.FrameOfReferenceUID = sources[0].FrameOfReferenceUID
        dataset.OperatorsName = dataset.PositionReferenceIndicator = ""
        dataset.StructureSetLabel = "VERTEBRAE"
        del dataset.ContentDate, dataset.ContentTime
        dataset.StructureSetDate, dataset.StructureSetTime = (
            dataset.InstanceCreationDate,
            dataset.InstanceCreationTime,
        )
        dataset.ApprovalStatus = "UNAPPROVED"
        dataset.ReferencedFrameOfReferenceSequence = [_frame(sources)]
        _add_structures(dataset, numbers, present, (stack, sources))
        path.write_bytes(dicom_bytes(dataset))
    return [vertebra.level for vertebra in present]


def _add_structures(
    dataset: Any,
    numbers: np.ndarray,
    present: Sequence[Vertebra],
    series: tuple[Stack, Sequence[Any]],
) -> None:
    """Add structures, contours and observations of all vertebrae."""
    stack, sources = series
    rois, contours, observations = [], [], []
    for number, vertebra in enumerate(present, 1):
        rois.append(_structure(number, vertebra, sources[0].FrameOfReferenceUID))
        planes = [
            _contour(points_mm, sources[k])
            for k, points_mm in _polygons(numbers == number, stack.geometry)
        ]
        color = list(BY_NAME[vertebra.level].color)
        contours.append(
            _item(ROIDisplayColor=color, ContourSequence=planes, ReferencedROINumber=number)
        )
        observations.append(
            _item(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIIdentificationCodeSequence=[_code(vertebra.level)],
                RTROIInterpretedType="ORGAN",
                ROIInterpreter="",
            )
        )
    dataset.StructureSetROISequence = rois
    dataset.ROIContourSequence = contours
    dataset.RTROIObservationsSequence = observations


def _structure(number: int, vertebra: Vertebra, frame: str) -> Any:
    """Return number, name and origin of a structure."""
    automatic = "SEMIAUTOMATIC" if vertebra.reviewed else "AUTOMATIC"
    return _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=frame,
        ROIName=vertebra.level,
        ROIGenerationAlgorithm=automatic if vertebra.origin.model else "MANUAL",
    )


def _polygons(mask: np.ndarray, grid: Geometry) -> Iterator[tuple[int, np.ndarray]]:
    """Yield slice number and corner points in LPS mm, (n, 3), of each closed contour of a mask."""
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        padded = np.pad(mask[k].astype(np.float32), 1)
        for line in find_contours(padded, 0.5):
            index = np.column_stack([np.full(len(line) - 1, float(k)), line[:-1] - 1])
            yield int(k), grid.to_lps_mm(index)


def _contour(points_mm: np.ndarray, source: Any) -> Any:
    texts = [f"{value:.{_DIGITS}f}" for value in points_mm.ravel() + 0.0]
    return _item(
        ContourImageSequence=[_reference(source)],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points_mm),
        ContourData=texts,
    )


def _frame(sources: Sequence[Any]) -> Any:
    """Return the frame of reference with study, series and slices."""
    series = _item(
        SeriesInstanceUID=sources[0].SeriesInstanceUID,
        ContourImageSequence=[_reference(source) for source in sources],
    )
    study = _item(
        ReferencedSOPClassUID=_STUDY_CLASS,
        ReferencedSOPInstanceUID=sources[0].StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(
        FrameOfReferenceUID=sources[0].FrameOfReferenceUID, RTReferencedStudySequence=[study]
    )


def _reference(source: Any) -> Any:
    return _item(
        ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID
    )


def _code(level: str) -> Any:
    label = BY_NAME[level]
    scheme, value, words = PLAIN_VERTEBRA.split("^")
    if label.snomed is not None:
        scheme, value, words = "SCT", label.snomed, meaning(label)
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=words)


def _item(**values: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
