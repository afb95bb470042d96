"""nnU-Net's raw layout: ``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz``, ``dataset.json``.

``imagesTs`` and ``labelsTs`` are the test split. A ``splits_final.json`` beside ``dataset.json``
states the folds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spinemamba.common.errors import UserError
from spinemamba.common.json_schema import load
from spinemamba.imaging.intensity import Modality
from spinemamba.training.layouts.names import translate
from spinemamba.training.layouts.pairing import case_files, files_below, pair_files
from spinemamba.training.layouts.user_case import Split, UserCase, UserDataset

FOLDERS = ("imagesTr", "labelsTr", "imagesTs", "labelsTs")
DATASET, FOLDS = "dataset.json", "splits_final.json"

CHANNEL = "_0000"
_MOST_VALUE = 65535
"""Largest label value in dataset.json (16 bits)."""

_MR_WORDS = ("mr", "t1", "t2", "tirm", "stir", "flair", "dixon")
"""Beginnings of names of channels that are MR."""


def matches(folder: Path) -> bool:
    """Return whether a folder has labels where nnU-Net has them."""
    try:
        return (folder / "labelsTr").is_dir()
    except OSError:
        return False


def read(folder: Path, ignore: tuple[str, ...]) -> UserDataset:
    """Return the data set in a folder; see `find.find_dataset`."""
    path = folder / DATASET
    about = _about(path)
    values, words = translate(_labels(path, about), ignore, path.name)
    modality = _modality(path, about)
    cases: list[UserCase] = []
    splits: tuple[tuple[str, Split], ...] = (("Tr", ""), ("Ts", "test"))
    for ending, split in splits:
        if not (folder / f"labels{ending}").is_dir():
            continue
        images = files_below(folder / f"images{ending}", deep=False)
        masks = files_below(folder / f"labels{ending}", deep=False)
        pairs = pair_files(case_files(images, CHANNEL, folder), case_files(masks, "", folder))
        cases += [
            UserCase(name, image.path, mask.path, values, modality=modality, split=split)
            for name, image, mask in pairs
        ]
    return UserDataset("nnU-Net (raw)", tuple(cases), words, folds=_folds(folder / FOLDS))


def _about(path: Path) -> dict[str, Any]:
    try:
        about = load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _no_labels(path, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _no_labels(path, str(error)) from error
    if not isinstance(about, dict) or not isinstance(about.get("labels"), dict):
        raise _no_labels(path, "there is no table of labels")
    return about


def _labels(path: Path, about: dict[str, Any]) -> dict[str, int]:
    """Return the value of each name; earlier versions of nnU-Net map values to names."""
    out: dict[str, int] = {}
    values: dict[int, str] = {}
    for key, entry in about["labels"].items():
        name, value = (str(entry), key) if str(key).isdecimal() else (str(key), entry)
        number = _value(value)
        if number is None:
            raise _no_labels(
                path, f"{name!r} has the value {json.dumps(value)}, not one from 0 to {_MOST_VALUE}"
            )
        if number in values or name in out:
            raise UserError(
                f"{path.name} gives one value to several labels: {values.get(number, name)}, "
                f"{name}.",
                "Give each label its own value and level.",
            )
        out[name] = number
        values[number] = name
    return out


def _value(value: object) -> int | None:
    """Return the value of a label; None if it cannot occur in a label image."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not value.isdecimal():
        return None
    number = float(value)
    return int(number) if number.is_integer() and 0 <= number <= _MOST_VALUE else None


def _modality(path: Path, about: dict[str, Any]) -> Modality:
    """Return the modality of the only channel.

    Raises:
        UserError: If images have several channels.
    """
    channels = about.get("channel_names", about.get("modality", {"0": "CT"}))
    if not isinstance(channels, dict) or len(channels) != 1:
        raise UserError(
            f"{path.name} names {len(channels)} channels; this package reads images with one.",
            "Keep one channel per case, and name it CT or MR.",
        )
    name = str(next(iter(channels.values()))).lower()
    return "mr" if name.startswith(_MR_WORDS) else "ct"


def _folds(path: Path) -> tuple[frozenset[str], ...]:
    """Return the validation cases of each fold in splits_final.json; empty without that file."""
    try:
        folds = load(path.read_text(encoding="utf-8"))
        return tuple(frozenset(map(str, fold["val"])) for fold in folds)
    except OSError:
        return ()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path.name} does not list the folds: {error}.",
            "Restore the file of nnU-Net, or remove it.",
        ) from error


def _no_labels(path: Path, why: str) -> UserError:
    return UserError(
        f"{path.name} does not define the labels: {why}.",
        "Put nnU-Net's dataset.json beside imagesTr and labelsTr.",
    )
