"""File layout of training cases, as in VerSe (BIDS). Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

IMAGE, MASK = "_ct", "_seg-vert_msk"
"""Suffixes of the names of an image and its label image, before the file extension."""

LOG = "_audit.csv"
NAME = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True)
class CaseFiles:
    """Paths of one case."""

    image: Path
    labels: Path
    log: Path


def case_files(folder: Path, name: str) -> CaseFiles:
    """Return the paths of a case: the image in rawdata, labels and log in derivatives.

    Args:
        folder: Folder of all cases.
        name: Letters and digits; must not identify a patient.

    Raises:
        ValueError: If the name has other characters.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"a case's name has letters and digits only, got {name!r}")
    subject = f"sub-{name}"
    derived = folder / "derivatives" / subject
    return CaseFiles(
        folder / "rawdata" / subject / f"{subject}{IMAGE}.nii.gz",
        derived / f"{subject}{MASK}.nii.gz",
        derived / f"{subject}{LOG}",
    )
