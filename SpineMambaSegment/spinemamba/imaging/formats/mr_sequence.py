"""Name of an MR pulse sequence, from the tags of a DICOM file."""

from __future__ import annotations

from spinemamba.imaging.formats.dicom_header import Header

SEQUENCE = "SpineMamba.Sequence"
"""Metadata key of an image that holds the name."""

_SCANNING_SEQUENCE, _SCAN_OPTIONS = "0018|0020", "0018|0022"
_REPETITION_MS, _ECHO_MS, _INVERSION_MS = "0018|0080", "0018|0081", "0018|0082"

_SHORT_INVERSION_MS = (60.0, 350.0)
"""Inversion times that suppress fat, from 0.2 to 7 T."""

_SHORT_ECHO_MS = 45.0
_SHORT_REPETITION_MS = 1300.0
"""A spin echo with both below is T1-weighted; with a long echo it is T2-weighted."""


def sequence_name(header: Header) -> str:
    """Return the kind of an MR sequence in words; empty for other modalities and if unknown.

    Series descriptions are not used: they are free text, and may name a person.

    Args:
        header: Header of one slice.
    """
    if header.modality != "MR":
        return ""
    kinds = header.text(_SCANNING_SEQUENCE).upper().split("\\")
    inversion_ms = header.number(_INVERSION_MS, 0.0)
    low, high = _SHORT_INVERSION_MS
    if "IR" in kinds and low <= inversion_ms <= high:
        return "inversion recovery with fat suppression (STIR, TIRM)"
    if "GR" in kinds and "SE" not in kinds:
        return "gradient echo"
    weighting = _weighting(header.number(_REPETITION_MS, 0.0), header.number(_ECHO_MS, 0.0))
    suppressed = "FS" in header.text(_SCAN_OPTIONS).upper().split("\\")
    return f"{weighting} with fat suppression" if weighting and suppressed else weighting


def _weighting(repetition_ms: float, echo_ms: float) -> str:
    if not (repetition_ms > 0 and echo_ms > 0):
        return ""
    if echo_ms >= _SHORT_ECHO_MS:
        return "T2-weighted spin echo"
    short = repetition_ms <= _SHORT_REPETITION_MS
    return "T1-weighted spin echo" if short else "proton density-weighted spin echo"
