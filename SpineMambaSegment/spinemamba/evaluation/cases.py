"""Pair segmentations with references: two files, two folders, or a table."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from spinemamba.common.errors import UserError
from spinemamba.imaging.formats.image_file import FORMATS

_MASK_ENDINGS = ("_seg-vert_msk", "_seg", "_labels")
"""Name suffixes of masks in VerSe and in this project, which are not part of the case name."""

_IMAGE_ENDINGS = ("_ct", "_0000")
"""Name suffixes of images (VerSe, nnU-Net), which some tools also use for masks."""

_COLUMNS = ("predicted", "reference")


@dataclass(frozen=True)
class Case:
    """A segmentation and its reference.

    Attributes:
        name: Name of the case in tables.
        predicted: Path of the segmentation; None if the reference has no counterpart.
        reference: Path of the reference; None if the segmentation has no counterpart.
    """

    name: str
    predicted: Path | None
    reference: Path | None

    @property
    def problem(self) -> str:
        """Message about a missing file; empty if both exist."""
        if self.predicted is None:
            return "There is no segmentation for this case."
        return "" if self.reference else "There is no reference for this case."


def find_cases(predicted: Path, reference: Path | None) -> list[Case]:
    """Return the cases to compare, in the order of their names or of the table.

    - Two files are one case.
    - Two folders, searched recursively: files are paired by `case_name`. If several files of a
      folder have the same case name, those with `_MASK_ENDINGS` have priority over those without,
      and these over those with `_IMAGE_ENDINGS`, so that images may be beside their masks.
    - A table: a .csv file with the columns ``predicted`` and ``reference``, and optionally
      ``case`` with the names of the cases. Paths are relative to the folder of the table.

    Args:
        predicted: File, folder, or table.
        reference: File or folder; None with a table.

    Returns:
        The cases. Files of a folder without a counterpart are cases with one path.

    Raises:
        UserError: If a path does not exist, the paths are of different kinds, no names match, a
            name is not unique, or the table lacks a column.
    """
    if reference is None:
        if predicted.suffix.lower() != ".csv":
            raise UserError(
                f"There is no reference for {predicted.name}.",
                "Give a reference as well, or a .csv file with the columns predicted, reference.",
            )
        return _from_table(predicted)
    for path in (predicted, reference):
        if not path.exists():
            raise UserError(f"Input not found: {path}.", "Check the path.")
    if predicted.is_dir() != reference.is_dir():
        raise UserError(
            f"{predicted.name} and {reference.name} are a file and a folder.",
            "Give two files, two folders, or a .csv file.",
        )
    if predicted.is_dir():
        return _from_folders(predicted, reference)
    return [Case(case_name(predicted), predicted, reference)]


def case_name(path: Path) -> str:
    """Return the name of a file without its extension and without a suffix for masks or images.

    ``sub-verse004_dir-ax_seg-vert_msk.nii.gz`` and ``sub-verse004_dir-ax.nii.gz`` are the case
    ``sub-verse004_dir-ax``.
    """
    return _parts(path)[0]


def _parts(path: Path) -> tuple[str, int]:
    """Return the case name, and a rank that is lower for names of masks."""
    formats = (".seg.nrrd", *FORMATS)
    name = path.name
    extension = next((end for end in formats if name.lower().endswith(end)), path.suffix)
    name = name[: len(name) - len(extension)]
    for rank, endings in ((0, _MASK_ENDINGS), (2, _IMAGE_ENDINGS)):
        for ending in endings:
            if name.endswith(ending) and name != ending:
                return name.removesuffix(ending), rank
    return name, 1


def _from_folders(predicted: Path, reference: Path) -> list[Case]:
    predictions, references = _masks(predicted), _masks(reference)
    if not predictions.keys() & references.keys():
        raise UserError(
            f"No file in {predicted.name} has the name of one in {reference.name} "
            f"({len(predictions)} and {len(references)} images).",
            "Name segmentations like their references, or list the pairs in a .csv file.",
        )
    return [
        Case(name, predictions.get(name), references.get(name))
        for name in sorted(predictions.keys() | references)
    ]


def _masks(folder: Path) -> dict[str, Path]:
    """Return the mask of each case below a folder."""
    masks: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if not path.name.lower().endswith(FORMATS) or path.name.startswith("."):
            continue
        name, rank = _parts(path)
        other = masks.get(name)
        if other is not None and _parts(other)[1] == rank:
            raise UserError(
                f"{other.name} and {path.name} in {folder.name} are the same case, {name}.",
                "Keep one of them in the folder, or list the pairs in a .csv file.",
            )
        if other is None or rank < _parts(other)[1]:
            masks[name] = path
    return masks


def _from_table(path: Path) -> list[Case]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} cannot be read.", "Give a .csv file in UTF-8.") from error
    if not rows or not set(_COLUMNS) <= rows[0].keys():
        columns = ", ".join(map(str, rows[0])) if rows else "no row"
        raise UserError(
            f"{path.name} has {columns}.",
            "Use the columns predicted and reference, separated by commas, and a row per case.",
        )
    cases = [_from_row(row, number, path) for number, row in enumerate(rows, start=2)]
    names = [case.name for case in cases]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise UserError(
            f"{path.name} has the case {duplicate} more than once.",
            "Add a column case with a unique name in each row.",
        )
    return cases


def _from_row(row: dict[str, str], number: int, table: Path) -> Case:
    paths = [(row[column] or "").strip() for column in _COLUMNS]
    if not all(paths):
        raise UserError(f"Row {number} of {table.name} lacks a path.", "Fill it in or remove it.")
    predicted, reference = (table.parent / path for path in paths)
    return Case((row.get("case") or "").strip() or case_name(predicted), predicted, reference)
