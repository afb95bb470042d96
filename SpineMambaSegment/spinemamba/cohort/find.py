"""Find the cases of a folder tree, a table or a pattern."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from spinemamba.cohort.found import FoundCase, Listing, Skipped, named
from spinemamba.cohort.image_files import (
    files_of,
    is_bids,
    is_dicom,
    kind_of,
    why_not,
    why_not_folder,
)
from spinemamba.common.errors import UserError
from spinemamba.export.names import safe_case
from spinemamba.protocol.job import MODALITIES

_GLOB = "*?["
_COLUMNS = ("image", "case", "modality", "levels_from")


def find_cases(source: str, without: Path | None = None) -> Listing:
    """Return the images of a folder tree, a CSV table, a pattern or a single file.

    Args:
        source: Folder; .csv file with the column ``image`` and optionally ``case``, ``modality``
            and ``levels_from``; pattern such as ``data/**/ct.nii.gz``; or image file.
        without: Folder that is not searched, such as the output folder.

    Raises:
        UserError: If nothing is there, no case is found, or a table is not valid.
    """
    path = Path(source)
    if path.is_dir():
        listing = _from_tree(path, without)
    elif path.suffix.lower() == ".csv" and path.is_file():
        listing = _from_table(path)
    elif path.exists():
        listing = Listing(named(_cases_of(path, path.name, [])))
    elif any(sign in source for sign in _GLOB):
        listing = _from_pattern(source)
    else:
        raise UserError(f"Input not found: {source}.", "Check the path.")
    if not listing.cases:
        raise UserError(
            f"No image was found in {source}{_left_out(listing.skipped)}.",
            "Give a folder with NIfTI, NRRD, MetaImage or DICOM files, a .csv file or a pattern.",
        )
    return listing


def _left_out(skipped: Sequence[Skipped]) -> str:
    """Return how many entries were left out, with the first and its reason; empty if none was."""
    if not skipped:
        return ""
    first = f"{skipped[0].source} ({skipped[0].reason})"
    if len(skipped) == 1:
        return f"; left out: {first}"
    return f"; left out: {len(skipped)} entries, such as {first}"


def _from_tree(root: Path, without: Path | None) -> Listing:
    cases: list[FoundCase] = []
    skipped: list[Skipped] = []
    excluded = None if without is None else os.path.realpath(without)
    bids = is_bids(root)
    for folder, subfolders, files in os.walk(root, onerror=lambda e: _note(e, root, skipped)):
        here = Path(folder)
        for name in sorted(subfolders):
            why = why_not_folder(name, is_bids=bids)
            if os.path.realpath(here / name) == excluded:
                why = "the output folder"
            if (here / name).is_symlink():
                why = "a link to a folder"
            if why:
                subfolders.remove(name)
                if why != "hidden":
                    skipped.append(Skipped(_shown(here / name, root), why))
        subfolders.sort()
        visible = [here / name for name in sorted(files) if not name.startswith(".")]
        if not visible and not subfolders and not files:
            skipped.append(Skipped(_shown(here, root), "an empty folder"))
        cases += _of_folder(here, visible, root, skipped)
    if any(case.series_uid for case in cases):
        from spinemamba.cohort.dicom_series import without_scattered

        cases = without_scattered(cases, skipped)
    return Listing(named(cases), tuple(skipped))


def _note(error: OSError, root: Path, skipped: list[Skipped]) -> None:
    path = Path(os.fsdecode(error.filename or root))
    skipped.append(Skipped(_shown(path, root), f"it cannot be read: {error.strerror}"))


def _of_folder(
    folder: Path, files: list[Path], root: Path, skipped: list[Skipped]
) -> Iterator[FoundCase]:
    """Yield the cases whose files are in a folder."""
    dicom: list[Path] = []
    for path in files:
        if kind := kind_of(path):
            if why := why_not(path):
                skipped.append(Skipped(_shown(path, root), why))
            else:
                yield _image_case(path, _shown(path, root), kind)
        elif is_dicom(path):
            dicom.append(path)
    if dicom:
        from spinemamba.cohort.dicom_series import series_of

        yield from series_of(folder, dicom, _shown(folder, root), skipped)


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else root.absolute().name


def _image_case(path: Path, source: str, kind: str) -> FoundCase:
    try:
        files = files_of(path)
    except OSError:  # reading the case reports the reason
        files = (path,)
    return FoundCase(source, path, files, kind)


def _cases_of(path: Path, source: str, skipped: list[Skipped]) -> Iterator[FoundCase]:
    """Yield the cases of a file or a folder that the user named; no name rules it out."""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        for case in _of_folder(path, files, path, skipped):
            yield replace(case, source=f"{source}/{case.source}", name="")
        return
    if not kind_of(path) and is_dicom(path):
        from spinemamba.cohort.dicom_series import series_with

        yield series_with(path, source)
        return
    # A file of another kind fails when it is read, with the reason.
    yield _image_case(path, source, kind_of(path) or "other file")


def _from_pattern(pattern: str) -> Listing:
    cases: list[FoundCase] = []
    skipped: list[Skipped] = []
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207 - for absolute patterns, too
    fixed = _fixed_part(pattern)
    for path in sorted(map(Path, found)):
        if path.is_dir() or kind_of(path) or is_dicom(path):
            cases += _cases_of(path, path.relative_to(fixed).as_posix(), skipped)
        else:
            skipped.append(Skipped(path.name, "not an image, by its name"))
    return Listing(named(cases), tuple(skipped))


def _fixed_part(pattern: str) -> Path:
    """Return the folders before the first wildcard: names must not depend on what matches."""
    fixed = Path()
    for part in Path(pattern).parts[:-1]:
        if any(sign in part for sign in _GLOB):
            break
        fixed /= part
    return fixed


def _from_table(table: Path) -> Listing:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table.name} cannot be read.", "Give a .csv file in UTF-8.") from error
    if not rows or _COLUMNS[0] not in rows[0]:
        columns = ", ".join(map(str, rows[0])) if rows else "no row"
        raise UserError(
            f"{table.name} has {columns}.",
            f"Use the column {_COLUMNS[0]}, and optionally {', '.join(_COLUMNS[1:])}, "
            "separated by commas, and a row per case.",
        )
    cases = [_from_row(row, number, table) for number, row in enumerate(rows, start=2)]
    names = [case.name for case in cases if case.name]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"{table.name} has the case {twice} more than once.",
            "Give each row a unique name in the column case.",
        )
    return Listing(named(cases))


def _from_row(row: dict[str, str], number: int, table: Path) -> FoundCase:
    image, name, modality, levels = ((row.get(column) or "").strip() for column in _COLUMNS)
    modality = modality.lower() or "auto"
    if not image or modality not in MODALITIES:
        wrong = f"the modality '{modality}'" if image else "no image"
        raise UserError(
            f"Row {number} of {table.name} has {wrong}.",
            f"Give a path, and one of {', '.join(MODALITIES)} or nothing as modality.",
        )
    path = table.parent / image
    cases = list(_cases_of(path, image, []))
    if len(cases) != 1:
        raise UserError(
            f"Row {number} of {table.name}: {image} has {len(cases)} images, not one.",
            "Name a file of the series, or an image file.",
        )
    levels_from = table.parent / levels if levels else None
    if levels_from is not None and not levels_from.exists():
        raise UserError(
            f"Row {number} of {table.name}: {levels} in the column {_COLUMNS[3]} was not found.",
            "Give a path relative to the table, or nothing.",
        )
    name = safe_case(name) if name else cases[0].name
    return replace(cases[0], modality=modality, name=name, levels_from=levels_from)
