"""A case of a data set on disk, and a data set in one of the known layouts."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from spinemamba.imaging.intensity import Modality

Split = Literal["", "training", "validation", "test"]

Values = dict[int, int]
"""VerSe value of each value of a label image; 0 is background."""

IGNORED = -1
"""Entry of `Values` for voxels that are left out of the loss, as nnU-Net's label "ignore"."""

PROTECTED: tuple[Split, ...] = ("", "training", "validation", "test")
"""Splits in the order in which they protect a patient from being trained on."""

_SPLIT_AT_END = re.compile(
    r"(?<![a-z])(?:(?P<training>train(?:ing)?(?:set)?)|(?P<validation>val(?:id(?:ation)?)?)"
    r"|(?P<test>test(?:ing)?))$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class UserCase:
    """One case of the user.

    Attributes:
        name: Common beginning of the file names, after the folder if several cases have this name.
        image: CT in HU, or MR.
        labels: Label image on the same grid, or a folder with one mask per structure.
        values: VerSe value of each value in the label image; None if the values are recognised, as
            those of VerSe, or if the labels have names.
        key: Identifies the content of the files, see `read_dataset.with_keys`.
        modality: "ct" or "mr", as the layout states it.
        split: Official split of the data set; empty if it states none.
        patient: Identifies the patient within the data set; cases of one patient stay together in
            a split. Empty if it is the name of the case.
    """

    name: str
    image: Path
    labels: Path
    values: Values | None
    key: str = ""
    modality: Modality = "ct"
    split: Split = ""
    patient: str = ""

    @property
    def subject(self) -> str:
        """The patient, or the name of the case if the layout names no patient."""
        return self.patient or self.name


@dataclass(frozen=True)
class UserDataset:
    """A data set in one of the known layouts.

    Attributes:
        layout: Name of the layout.
        cases: Its cases, sorted by name.
        translation: Name or value of a label, and what it becomes.
        notes: Sentences about files that are not used.
        folds: Names of the validation cases of each fold that the data set states.
    """

    layout: str
    cases: tuple[UserCase, ...]
    translation: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    folds: tuple[frozenset[str], ...] = field(default=())


def split_named(parts: Collection[str]) -> Split:
    """Return the split that folder names state, such as ``dataset-verse19validation``.

    Args:
        parts: Names of folders from the top down; the lowest one that names a split counts.
    """
    for part in reversed(tuple(parts)):
        if match := _SPLIT_AT_END.search(part):
            return match.lastgroup  # type: ignore[return-value]
    return ""
