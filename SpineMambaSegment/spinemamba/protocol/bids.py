"""Where the files of a training case lie, as VerSe (BIDS) lays them out. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

IMAGE, MASK = "_ct", "_seg-vert_msk"
"""Ends of the names of an image and of its label image, before the format."""

LOG = "_audit.csv"
NAME = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case."""

    image: Path
    labels: Path
    log: Path


def case_files(folder: Path, name: str) -> CaseFiles:
    """Return where a case goes: the image below rawdata, what people made of it below derivatives.

    Args:
        folder: Folder of all cases.
        name: Letters and digits, and nothing of a patient.

    Raises:
        ValueError: If the name holds anything else.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"a case's name has letters and digits only, got {name!r}")
    subject = f"sub-{name}"
    made = folder / "derivatives" / subject
    return CaseFiles(
        folder / "rawdata" / subject / f"{subject}{IMAGE}.nii.gz",
        made / f"{subject}{MASK}.nii.gz",
        made / f"{subject}{LOG}",
    )
