"""CTSpine1K's layout: ``volumes/.../CASE.nii.gz``, ``labels/.../CASE_seg.nii.gz``.

Labels have the values of VerSe. Official splits are in ``data_split.txt``: a line such as
``trainset:`` or ``test_public:``, and the names of its files below.
"""

from __future__ import annotations

from pathlib import Path

from spinemamba.training.layouts.pairing import case_files, files_below, pair_files
from spinemamba.training.layouts.user_case import Split, UserCase, UserDataset

_LABELS, _ENDING, _SPLIT_FILE = "labels", "_seg", "data_split.txt"
_IMAGES = ("volumes", "images")

_SPLITS: dict[str, Split] = {
    "trainset": "training",
    "test_public": "validation",
    "test_private": "test",
}
"""The public test set is the validation set of the data set's copy at Hugging Face."""

_TRANSLATION = (("1-25", "C1-L6, as VerSe; other schemes are recognised by anatomy"),)


def matches(folder: Path) -> bool:
    """Return whether a folder has images and labels whose names end with ``_seg``."""
    try:
        labels = folder / _LABELS
        if not labels.is_dir() or _images(folder) is None:
            return False
        return bool(case_files(files_below(labels), _ENDING, folder))
    except OSError:
        return False


def _images(folder: Path) -> Path | None:
    return next((folder / name for name in _IMAGES if (folder / name).is_dir()), None)


def read(folder: Path, ignore: tuple[str, ...]) -> UserDataset:
    """Return the data set in a folder; see `find.find_dataset`."""
    images = case_files(files_below(_images(folder) or folder), "", folder)
    masks = case_files(files_below(folder / _LABELS), _ENDING, folder)
    splits = _splits(folder)
    notes = [] if splits else [f"There is no {_SPLIT_FILE}: the official splits are unknown."]
    cases = [
        UserCase(name, image.path, mask.path, None, split=splits.get(image.name, ""))
        for name, image, mask in pair_files(images, masks)
    ]
    return UserDataset("CTSpine1K", tuple(cases), _TRANSLATION, tuple(notes))


def _splits(folder: Path) -> dict[str, Split]:
    """Return the split of each case in data_split.txt, here or in the parent folder."""
    for path in (folder / _SPLIT_FILE, folder.parent / _SPLIT_FILE):
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        splits: dict[str, Split] = {}
        current: Split = ""
        for line in map(str.strip, lines):
            if line.endswith(":"):
                current = _SPLITS.get(line[:-1].strip().lower(), "")
            elif line:
                splits[line.removesuffix(".nii.gz")] = current
        return splits
    return {}
