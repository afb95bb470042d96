"""VerSe's layout, which follows BIDS, and derivatives of SPINEPS and TPTBox in it.

``NAME_ct.nii.gz`` (or ``_T1w``, ``_T2w``) and ``NAME_seg-vert_msk.nii.gz`` with the same beginning,
anywhere below the folder. Official splits are folders whose names end with training, validation or
test, such as ``dataset-02validation`` or ``dataset-verse19test``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from spinemamba.protocol.bids import IMAGE, MASK
from spinemamba.training.layouts.pairing import CaseFile, case_files, files_below, pair_files
from spinemamba.training.layouts.user_case import UserCase, UserDataset, split_named

_MR = ("_T1w", "_T2w")

_PLAIN_MASKS = ("_labels", "_seg")
"""Endings of masks where no file has VerSe's ending."""

_SHOWN = 6
"""Largest number of files that a note names."""

_SUBREGIONS = ("_seg-spine_msk", "_seg-subreg_msk")
"""Sub-regions of SPINEPS and TPTBox, which name parts of vertebrae but no level."""

_OF_MODALITY = re.compile(r"_mod-(?:ct|T1w|T2w)(?=_|$)")
"""Entity in the name of a mask that says of which image it is."""

_SUBJECT = re.compile(r"sub-[^_/]+")

_TRANSLATION = (
    ("1-28", "C1-Coccyx, L6 (25), T13 (28), as VerSe; other schemes are recognised by anatomy"),
    ("101-128", "background: discs of SPINEPS"),
    ("201-228", "their vertebra: endplates of SPINEPS"),
)


def matches(folder: Path) -> bool:
    """Return True: files are found by their names, whatever the folders are called."""
    return True


def read(folder: Path, ignore: tuple[str, ...]) -> UserDataset:
    """Return the data set in a folder; see `find.find_dataset`."""
    files = files_below(folder)
    masks = [_plain(mask) for mask in case_files(files, MASK, folder)]
    images = case_files(files, IMAGE, folder)
    modality = {}
    for ending in _MR:
        for image in case_files(files, ending, folder):
            named = replace(image, name=f"{image.name}{ending}")
            own = any(mask.name == named.name for mask in masks)
            images.append(named if own else image)
            modality[image.path] = "mr"
    notes = []
    only_parts = sum(len(case_files(files, ending, folder)) for ending in _SUBREGIONS)
    if only_parts:
        notes.append(
            f"{only_parts} masks of sub-regions ({', '.join(_SUBREGIONS)}) are not used: "
            f"levels are in the files {MASK}."
        )
    if not masks:
        masks, images, unused = _plain_pairs(files, folder)
        if masks and unused:
            notes.append(
                f"{len(unused)} files are not used, because none is called as another one with "
                f"{' or '.join(_PLAIN_MASKS)}: {', '.join(unused[:_SHOWN])}"
            )
    cases = [
        UserCase(
            name,
            image.path,
            mask.path,
            None,
            modality=modality.get(image.path, "ct"),
            split=split_named(image.folder),
            patient=_patient(image),
        )
        for name, image, mask in pair_files(images, masks)
    ]
    return UserDataset("VerSe (BIDS)", tuple(cases), _TRANSLATION, tuple(notes))


def _plain_pairs(
    files: list[Path], folder: Path
) -> tuple[list[CaseFile], list[CaseFile], list[str]]:
    """Return ``NAME_labels`` or ``NAME_seg`` and ``NAME``, as the phantoms of this package.

    Returns:
        Masks, images, and names of the other files.
    """
    masks = [mask for ending in _PLAIN_MASKS for mask in case_files(files, ending, folder)]
    names, taken = {mask.name for mask in masks}, {mask.path for mask in masks}
    others = [image for image in case_files(files, "", folder) if image.path not in taken]
    images = [image for image in others if image.name in names]
    return masks, images, [other.text for other in others if other.name not in names]


def _plain(mask: CaseFile) -> CaseFile:
    """Return the mask with the name of its image: ``sub-1_mod-T2w`` is of ``sub-1_T2w``."""
    match = _OF_MODALITY.search(mask.name)
    if match is None:
        return mask
    kind = match[0].removeprefix("_mod-")
    stem = mask.name[: match.start()] + mask.name[match.end() :]
    return replace(mask, name=stem if kind == "ct" else f"{stem}_{kind}")


def _patient(image: CaseFile) -> str:
    return subject_in(image.name, "/".join(image.folder))


def subject_in(*texts: str) -> str:
    """Return the first subject of BIDS, such as ``sub-1``, in names or paths; else nothing."""
    return next((match[0] for text in texts if (match := _SUBJECT.search(text))), "")
