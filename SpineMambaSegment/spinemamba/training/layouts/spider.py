"""SPIDER's layout: lumbar MR, ``images/1_t1.mha`` and ``masks/1_t1.mha``, and ``overview.csv``.

Sequences are t1, t2 and t2_SPACE; the number before them is the patient. Vertebrae are numbered
from the bottom (L5 is 1), 100 is the spinal canal, 101 to 125 are truncated vertebrae, 201 to 225
discs. The sacrum is not labelled.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from spinemamba.anatomy.label_schemes import upwards
from spinemamba.training.layouts.pairing import case_files, files_below, pair_files
from spinemamba.training.layouts.user_case import Split, UserCase, UserDataset, Values, split_named

_NAME = re.compile(r"(?P<patient>.+)_(?P<sequence>t1|t2|t2_SPACE)", re.IGNORECASE)
_OVERVIEW = "overview.csv"

_CANAL, _TRUNCATED, _DISC = 100, 100, 200
"""Value of the canal, and what is added to a vertebra's number for a truncated one and a disc."""

_MOST = 25
"""Largest number of a vertebra."""

_TRANSLATION = (
    ("1-24", "L5, L4, ... C1, counted from the bottom"),
    ("100", "background: spinal canal"),
    ("101-124", "the same levels: truncated vertebrae"),
    ("201-225", "background: discs"),
)


def matches(folder: Path) -> bool:
    """Return whether a folder has SPIDER's names."""
    try:
        images, masks = folder / "images", folder / "masks"
        if not (images.is_dir() and masks.is_dir()):
            return False
        return any(_NAME.fullmatch(path.name.partition(".")[0]) for path in masks.iterdir())
    except OSError:
        return False


def read(folder: Path, ignore: tuple[str, ...]) -> UserDataset:
    """Return the data set in a folder; see `find.find_dataset`."""
    images = case_files(files_below(folder / "images"), "", folder)
    masks = case_files(files_below(folder / "masks"), "", folder)
    splits, values = _splits(folder / _OVERVIEW), spider_values()
    notes = [] if splits else [f"There is no {_OVERVIEW}: the official splits are unknown."]
    cases = []
    for name, image, mask in pair_files(images, masks):
        match = _NAME.fullmatch(image.name)
        cases.append(
            UserCase(
                name,
                image.path,
                mask.path,
                values,
                modality="mr",
                split=splits.get(image.name, ""),
                patient=match["patient"] if match else image.name,
            )
        )
    return UserDataset("SPIDER", tuple(cases), _TRANSLATION, tuple(notes))


def spider_values() -> Values:
    """Return the VerSe value of each of SPIDER's values; canal and discs are background."""
    levels = upwards(1, "L5", "C1")
    values = {number: label.value for number, label in levels.items()}
    values |= {_TRUNCATED + number: value for number, value in values.items()}
    background = dict.fromkeys((0, _CANAL, *range(_DISC + 1, _DISC + _MOST + 1)), 0)
    return values | background


def _splits(path: Path) -> dict[str, Split]:
    """Return the split of each file name in overview.csv; empty without that file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return {
        str(row.get("new_file_name", "")).partition(".")[0]: split_named([str(row.get("subset"))])
        for row in rows
    }
