"""Export a report as a DICOM Encapsulated PDF (PS3.3 A.45.1), written by pydicom."""

from __future__ import annotations

from pathlib import Path

from spinemamba.common.errors import UserError
from spinemamba.common.progress import Warn
from spinemamba.export.dicom_source import (
    dicom_bytes,
    new_dataset,
    patient_values_suppressed,
    read_sources,
)
from spinemamba.imaging.formats.dicom import find_stack

_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"
_SERIES_NUMBER = 9004
_TITLE = "Spine measurements (SpineMamba Segment, research use)"


def write_encapsulated_pdf(
    pdf: bytes, series: Path, path: Path, *, warn: Warn = lambda message: None
) -> None:
    """Write a PDF as a DICOM instance in the study of a series.

    Args:
        pdf: Content of the PDF.
        series: Folder of the series, or one of its files.
        path: File to write; not atomic, so callers pass a path from `atomic_files`.
        warn: Called with each warning about the series.

    Raises:
        UserError: If the series cannot be read, or the content is not a PDF.
    """
    if not pdf.startswith(b"%PDF-"):
        raise UserError("The report is not a PDF.", "Print it again.")
    with patient_values_suppressed():
        source = read_sources(find_stack(series, warn), warn)[0]
        dataset = new_dataset(source, _SOP_CLASS, "DOC", _SERIES_NUMBER)
        dataset.SeriesDescription = dataset.DocumentTitle = _TITLE
        dataset.ConversionType = "WSD"
        dataset.BurnedInAnnotation = "YES"
        dataset.ConceptNameCodeSequence = []
        dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
        dataset.EncapsulatedDocumentLength = len(pdf)
        dataset.AcquisitionDateTime = None
        # The length of a value is even.
        dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
        path.write_bytes(dicom_bytes(dataset))
