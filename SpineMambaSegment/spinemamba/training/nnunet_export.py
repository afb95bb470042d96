"""Write cases as a raw data set of nnU-Net, with the splits of this package."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spinemamba.anatomy.labels import LABELS
from spinemamba.common.atomic_files import write_error
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.write import write_image
from spinemamba.training.data.read_dataset import read_user_case
from spinemamba.training.layouts.names import BACKGROUND, IGNORE_LABEL
from spinemamba.training.layouts.nnunet import CHANNEL, DATASET, FOLDS
from spinemamba.training.layouts.splits import folds
from spinemamba.training.layouts.user_case import UserCase

_ENDING = ".nii.gz"
_OTHER_CHARACTERS = re.compile(r"[^A-Za-z0-9._-]+")
NAME = re.compile(r"[A-Za-z0-9]+")

IGNORE_VALUE = max(label.value for label in LABELS) + 1
"""Value of voxels without a label; nnU-Net wants it to be the largest."""

_CHANNELS = {"ct": "CT", "mr": "MR"}
"""Names of the channel; nnU-Net chooses the normalisation by it."""


def export_nnunet(
    cases: Sequence[UserCase], folder: Path, report: Callable[[str], None], *, count: int = 5
) -> Path:
    """Write a data set in nnU-Net's raw layout; its label values are those of VerSe.

    What this package leaves out of its loss, as unlabelled bone above and below the labels, has
    nnU-Net's label "ignore". With an official validation split, there is one fold; otherwise the
    folds are those of ``--fold``.

    Args:
        cases: Cases with their splits; those of the test split go to imagesTs.
        folder: Folder of the data set; it must not exist.
        report: Receives the name of each case.
        count: Number of folds.

    Returns:
        Path of the folds, which nnU-Net expects beside its preprocessed data.

    Raises:
        UserError: If the folder exists or cannot be written (OUTPUT_BAD, DISK_FULL), a case cannot
            be read, two cases have the same name, or there are CT and MR.
    """
    modality = _modality(cases)
    names = _names(cases)
    partial = folder.with_name(f".{folder.name}.part")
    if folder.exists():
        raise UserError(
            f"{folder} exists already.", "Choose another number or name.", Code.OUTPUT_BAD
        )
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for case in cases:
            report(case.name)
            _write_case(case, names[case.name], partial)
        trained = [case for case in cases if case.split != "test"]
        _write_json(_about(modality, len(trained)), partial / DATASET)
        _write_json(_folds(trained, names, count), partial / FOLDS)
        partial.rename(folder)
    except OSError as error:
        raise write_error(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder / FOLDS


def _modality(cases: Sequence[UserCase]) -> str:
    found = {case.modality for case in cases}
    if len(found) > 1:
        raise UserError(
            "The data set has CT and MR, which nnU-Net normalises in different ways.",
            "Export them as two data sets.",
        )
    return found.pop() if found else "ct"


def _names(cases: Sequence[UserCase]) -> dict[str, str]:
    """Return the name of each case in nnU-Net's files."""
    names = {case.name: _OTHER_CHARACTERS.sub("_", case.name) for case in cases}
    if len(set(names.values())) < len(cases):
        taken = list(names.values())
        twice = next(name for name in names if taken.count(names[name]) > 1)
        raise UserError(
            f"Two cases would have the name {names[twice]}.", "Rename the files of one of them."
        )
    return names


def _write_case(case: UserCase, name: str, folder: Path) -> None:
    image, labels, unknown = read_user_case(case)
    ending = "Ts" if case.split == "test" else "Tr"
    values = np.where(unknown.array > 0, IGNORE_VALUE, labels.array).astype(np.uint8)
    for part, volume in (
        (f"images{ending}/{name}{CHANNEL}", image),
        (f"labels{ending}/{name}", labels.with_array(values)),
    ):
        path = folder / f"{part}{_ENDING}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(volume, path)


def _about(modality: str, count: int) -> dict[str, Any]:
    levels = {label.name: label.value for label in sorted(LABELS, key=lambda one: one.value)}
    return {
        "channel_names": {"0": _CHANNELS[modality]},
        "labels": {BACKGROUND: 0, **levels, IGNORE_LABEL: IGNORE_VALUE},
        "numTraining": count,
        "file_ending": _ENDING,
    }


def _folds(
    cases: Sequence[UserCase], names: dict[str, str], count: int
) -> list[dict[str, list[str]]]:
    """Return the folds as in splits_final.json."""
    official = frozenset(case.name for case in cases if case.split == "validation")
    parts = [official] if official else folds(cases, count)
    return [
        {
            "train": sorted(names[case.name] for case in cases if case.name not in kept),
            "val": sorted(names[name] for name in kept),
        }
        for kept in parts
    ]


def _write_json(content: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="\n")
