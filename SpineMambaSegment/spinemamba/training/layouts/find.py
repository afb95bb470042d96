"""Recognise the layout of a data set, and find its cases."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from spinemamba.common.errors import UserError
from spinemamba.protocol.cohort import CASES
from spinemamba.training.layouts import bids, cohort, ctspine1k, nnunet, spider, totalsegmentator
from spinemamba.training.layouts.user_case import UserCase, UserDataset

LAYOUTS = (
    "Lay it out as VerSe (NAME_ct.nii.gz and NAME_seg-vert_msk.nii.gz), nnU-Net (imagesTr, "
    "labelsTr, dataset.json), TotalSegmentator (CASE/ct.nii.gz and CASE/segmentations), SPIDER "
    "(images and masks), CTSpine1K (volumes and labels) or pairs (NAME.nii.gz and NAME_seg.nii.gz)."
)

_READERS = (cohort, nnunet, totalsegmentator, spider, ctspine1k, bids)
"""Modules with ``matches(folder)`` and ``read(folder, ignore)``; the last one matches always."""

_WITH_NAMES = (nnunet, totalsegmentator)
"""Layouts whose labels have names."""


def find_cases(folder: Path, ignore: Collection[str] = ()) -> list[UserCase]:
    """Return the cases of a folder; as `find_dataset`."""
    return list(find_dataset(folder, ignore).cases)


def find_dataset(folder: Path, ignore: Collection[str] = ()) -> UserDataset:
    """Return the data set in a folder, in whichever known layout it is. Images are not opened.

    Args:
        folder: Folder of the data set.
        ignore: Names of labels that are no vertebrae and become background.

    Raises:
        UserError: If there are no cases, a folder cannot be read, files lack a partner, a label has
            an unknown name, or a name to ignore does not occur; all problems are listed.
    """
    if not is_folder(folder):
        if folder.is_file():
            raise UserError(f"{folder} is a file.", "Give the folder of the data set.")
        raise UserError(f"There is no folder {folder}.", "Check the path.")
    reader = next(reader for reader in _READERS if reader.matches(folder))
    if ignore and reader not in _WITH_NAMES:
        raise UserError(
            f"The labels in {folder} are numbers without names: {', '.join(ignore)} cannot be "
            "ignored.",
            "Leave out --ignore.",
        )
    found = reader.read(folder, tuple(ignore))
    if not found.cases:
        raise UserError("There are no labelled cases in the folder.", _remedy(folder))
    return found


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; False if it cannot be looked at."""
    try:
        return path.is_dir()
    except OSError:  # a parent folder cannot be read
        return False


def _remedy(folder: Path) -> str:
    """Return which folder was probably meant, or the known layouts."""
    if nnunet.matches(folder.parent) and folder.name in nnunet.FOLDERS:
        return f"Give its parent {folder.parent}, which has nnU-Net's layout."
    if folder.name == CASES and cohort.matches(folder.parent):
        return f"Give its parent {folder.parent}, the output of a cohort."
    try:
        below = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    except OSError:
        return LAYOUTS
    inside = [path for path in below if any(r.matches(path) for r in _READERS[:-1])]
    if inside:
        return f"Give one of the data sets in it, such as {inside[0]}."
    return LAYOUTS
