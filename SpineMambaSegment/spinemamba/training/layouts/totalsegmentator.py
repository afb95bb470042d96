"""TotalSegmentator's layout: ``sNNNN/ct.nii.gz`` (or ``mri.nii.gz``) and ``sNNNN/segmentations/``.

A folder of masks, one per structure; those of vertebrae and sacrum are read. ``meta.csv`` states
the official split.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from spinemamba.anatomy.terminology import level_named
from spinemamba.common.errors import UserError
from spinemamba.imaging.formats.image_file import FORMATS
from spinemamba.training.layouts.pairing import SUFFIXES, printable, raise_if_any
from spinemamba.training.layouts.user_case import Split, UserCase, UserDataset, split_named

MASKS = "segmentations"
_IMAGES = {"ct": "ct", "mri": "mr"}
_META = "meta.csv"

_LIKE_A_LEVEL = re.compile(r"vertebra|sacr|lumbar|thoracic|cervical|coccy", re.IGNORECASE)
"""Names that probably mean a level. Those of other structures become background."""


def matches(folder: Path) -> bool:
    """Return whether a subfolder of a folder has masks and an image as TotalSegmentator has."""
    try:
        return any((path / MASKS).is_dir() and _image(path) for path in _subjects(folder))
    except OSError:
        return False


def _subjects(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _image(subject: Path) -> tuple[Path, str] | None:
    """Return the image of a subject and its modality."""
    for stem, modality in _IMAGES.items():
        for suffix in SUFFIXES:
            if (path := subject / f"{stem}{suffix}").is_file():
                return path, modality
    return None


def read(folder: Path, ignore: tuple[str, ...]) -> UserDataset:
    """Return the data set in a folder; see `find.find_dataset`."""
    splits = _splits(folder / _META)
    cases, problems, other = [], [], set()
    words: dict[str, str] = {}
    for subject in _subjects(folder):
        masks, image = subject / MASKS, _image(subject)
        if image is None or not masks.is_dir():
            if image is not None or masks.is_dir():
                missing = "image" if image is None else f"folder {MASKS}"
                problems.append(f"{printable(subject.name)}: no {missing}")
            continue
        for name in structures(masks):
            level = level_named(name)
            if level is not None:
                words[name] = level.name
            elif _LIKE_A_LEVEL.search(name) and name not in ignore:
                problems.append(f"{printable(subject.name)}/{MASKS}: {name} is no level")
            else:
                other.add(name)
        path, modality = image
        cases.append(
            UserCase(
                subject.name,
                path,
                masks,
                None,
                modality=modality,
                split=splits.get(subject.name, ""),
            )
        )
    raise_if_any(problems)
    _check_ignored(ignore, other)
    notes = [] if splits else [f"There is no {_META}: the official splits are unknown."]
    notes.append(f"{len(other)} other structures become background.")
    return UserDataset("TotalSegmentator", tuple(cases), tuple(sorted(words.items())), tuple(notes))


def structures(masks: Path) -> list[str]:
    """Return the names of the masks in a folder, sorted."""
    names = []
    for path in masks.iterdir():
        ending = next((end for end in FORMATS if path.name.lower().endswith(end)), None)
        if ending is not None and not path.name.startswith("."):
            names.append(path.name[: len(path.name) - len(ending)])
    return sorted(names)


def _check_ignored(ignore: tuple[str, ...], other: set[str]) -> None:
    """Raise UserError if a name to ignore does not occur."""
    if missing := sorted(set(ignore) - other):
        raise UserError(
            f"No case has a mask {', '.join(missing)} that is no level.",
            "Check the names after --ignore; levels cannot be ignored.",
        )


def _splits(path: Path) -> dict[str, Split]:
    """Return the split of each subject in meta.csv (separated by semicolons)."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return {str(row.get("image_id")): split_named([str(row.get("split"))]) for row in rows}
