"""Names of exported files. Standard library only."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from spinemamba.common.atomic_files import sha256

CASE = "spine"
"""Default name of a case. Names of Slicer nodes are not used, because they often name patients."""

DICOM_ENDS = {"seg": "seg.dcm", "rtstruct": "rtstruct.dcm", "sr": "sr.dcm", "pdf": "report.dcm"}
"""Kinds of DICOM instances of a result, and the ends of their file names."""

_LONGEST_CASE = 60
_HASH_DIGITS = 8


def safe_case(text: str) -> str:
    """Convert the name of a case to a safe file name of letters, digits, ``-`` and ``_``.

    Accents are removed, other characters become ``_``; `CASE` if nothing remains. If letters of
    other scripts are lost, a hash of the name keeps the result unique.
    """
    composed = unicodedata.normalize("NFC", text)
    decomposed = unicodedata.normalize("NFKD", composed)
    plain = decomposed.encode("ascii", "ignore").decode()
    clean = re.sub(r"[^A-Za-z0-9-]+", "_", plain).strip("_-")[:_LONGEST_CASE].rstrip("_-") or CASE
    if not any(character.isalnum() and not character.isascii() for character in decomposed):
        return clean
    digest = sha256(composed.encode("utf-8", "surrogatepass"))
    return f"{clean[: _LONGEST_CASE - _HASH_DIGITS - 1]}-{digest[:_HASH_DIGITS]}"


def stems(case: str, levels: Iterable[str]) -> list[str]:
    """Return file names without ending, such as ``spine_L1``.

    They have no number, because one would read like a label value; the manifest has the order.

    Args:
        case: As returned by `safe_case`.
        levels: Names of the levels. A second vertebra of one level becomes ``spine_L1-2``.
    """
    counts: dict[str, int] = {}
    out = []
    for level in levels:
        counts[level] = counts.get(level, 0) + 1
        suffix = f"-{counts[level]}" if counts[level] > 1 else ""
        out.append(f"{case}_{level}{suffix}")
    return out
