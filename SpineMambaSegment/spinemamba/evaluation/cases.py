"""Which segmentation belongs to which reference: two files, two folders, or a table."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from spinemamba.common.errors import UserError
from spinemamba.imaging.formats.image_file import FORMATS

MASK_ENDINGS = ("_seg-vert_msk", "_seg", "_labels")
"""Ends of a mask's name that do not belong to the case: VerSe's, and those of this project."""

IMAGE_ENDINGS = ("_ct", "_0000")
"""Ends of an image's name (VerSe's, nnU-Net's), which some tools give to their masks, too."""

COLUMNS = ("predicted", "reference")


@dataclass(frozen=True)
class Case:
    """A segmentation and its reference.

    Attributes:
        name: What the case is called in tables.
        predicted: Its segmentation; None if there is none for this reference.
        reference: Its reference; None if there is none for this segmentation.
    """

    name: str
    predicted: Path | None
    reference: Path | None

    @property
    def problem(self) -> str:
        """What is missing, as a sentence; empty if nothing is."""
        if self.predicted is None:
            return "There is no segmentation of this case."
        return "" if self.reference else "There is no reference of this case."


def find_cases(predicted: Path, reference: Path | None) -> list[Case]:
    """Return the cases to compare, in the order of their names or of the table.

    - Two files are one case.
    - Two folders, with all that is below them: files are paired by what `case_name` makes of
      their names. If several files of one folder have the same case name, one that ends in one
      of `MASK_ENDINGS` is taken before a plain one, and that before one that ends in one of
      `IMAGE_ENDINGS`, so that images may lie beside their masks.
    - A table: a .csv file with the columns ``predicted`` and ``reference``, and ``case`` if the
      names of the segmentations shall not be the names of the cases. Relative paths start at
      the table's folder.

    Args:
        predicted: File, folder, or table.
        reference: File or folder; None with a table.

    Returns:
        The cases. In folders, files without a partner are cases that lack a side.

    Raises:
        UserError: If the two do not fit together, nothing is there, a name is not unique, or
            the table lacks a column.
    """
    if reference is None:
        if predicted.suffix.lower() != ".csv":
            raise UserError(
                f"There is nothing to compare {predicted.name} with.",
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
    """Return a file's name without its format and without an ending that tells its kind.

    ``sub-verse004_dir-ax_seg-vert_msk.nii.gz`` and ``sub-verse004_dir-ax.nii.gz`` are the case
    ``sub-verse004_dir-ax``.
    """
    return _parts(path)[0]


def _parts(path: Path) -> tuple[str, int]:
    """Return the case name and a rank, the lower the likelier a mask."""
    formats = (".seg.nrrd", *FORMATS)
    name = path.name
    known = next((end for end in formats if name.lower().endswith(end)), path.suffix)
    name = name[: len(name) - len(known)]
    for rank, endings in ((0, MASK_ENDINGS), (2, IMAGE_ENDINGS)):
        for ending in endings:
            if name.endswith(ending) and name != ending:
                return name.removesuffix(ending), rank
    return name, 1


def _from_folders(predicted: Path, reference: Path) -> list[Case]:
    found, true = _masks(predicted), _masks(reference)
    if not found.keys() & true.keys():
        raise UserError(
            f"No file in {predicted.name} has the name of one in {reference.name} "
            f"({len(found)} and {len(true)} images).",
            "Name segmentations like their references, or list the pairs in a .csv file.",
        )
    return [Case(name, found.get(name), true.get(name)) for name in sorted(found.keys() | true)]


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
    if not rows or not set(COLUMNS) <= rows[0].keys():
        columns = ", ".join(map(str, rows[0])) if rows else "no row"
        raise UserError(
            f"{path.name} has {columns}.",
            "Give it the columns predicted and reference, separated by commas, and a row a case.",
        )
    cases = [_from_row(row, number, path) for number, row in enumerate(rows, start=2)]
    names = [case.name for case in cases]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"{path.name} has the case {twice} more than once.",
            "Give it a column case with a name of its own in each row.",
        )
    return cases


def _from_row(row: dict[str, str], number: int, table: Path) -> Case:
    places = [(row[column] or "").strip() for column in COLUMNS]
    if not all(places):
        raise UserError(f"Row {number} of {table.name} lacks a path.", "Fill it in or remove it.")
    predicted, reference = (table.parent / place for place in places)
    return Case((row.get("case") or "").strip() or case_name(predicted), predicted, reference)
