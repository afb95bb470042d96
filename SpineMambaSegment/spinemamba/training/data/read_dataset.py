"""Training cases from a folder of the user, in the layout of VerSe (BIDS) or nnU-Net.

VerSe: ``..._ct.nii.gz`` and ``..._seg-vert_msk.nii.gz`` with the same beginning, anywhere below the
folder; `layout.pair_files` pairs them. nnU-Net (raw): ``imagesTr/CASE_0000.nii.gz``,
``labelsTr/CASE.nii.gz`` and ``dataset.json``, whose label names are translated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_NAME, BY_VALUE
from spinemamba.anatomy.terminology import level_named
from spinemamba.common.atomic_files import sha256
from spinemamba.common.errors import UserError
from spinemamba.common.processes import Mapper
from spinemamba.imaging.intensity import hounsfield_problem
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.volume import Volume
from spinemamba.inference.model import sha256_of
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.protocol.bids import IMAGE, MASK
from spinemamba.training.data.dataset import BONE_HU, Case, make_case
from spinemamba.training.data.layout import (
    CaseFile,
    case_files,
    files_below,
    pair_files,
    raise_if_any,
)
from spinemamba.training.data.origin import PREFIX, SYNTHETIC

_CHANNEL = "_0000"
_MOST_VALUE = 65535
"""Largest label value in dataset.json (16 bits)."""

_LAYOUTS = (
    f"Lay it out as VerSe (NAME{IMAGE}.nii.gz and NAME{MASK}.nii.gz) or as nnU-Net "
    "(imagesTr, labelsTr, dataset.json)."
)

USER = "user:"
"""Beginning of the keys of the user's cases. A key that is only the beginning matches no case."""

_DETACHED = re.compile(rb"^(data ?file:|ElementDataFile *= *(?!LOCAL))", re.MULTILINE)
"""Line of an NRRD or MetaImage header that refers to another file for the voxels."""

_HEADER_BYTES = 1 << 16

Values = dict[int, int]


@dataclass(frozen=True)
class UserCase:
    """One case of the user.

    Attributes:
        name: Common beginning of the file names, after the folder if several cases have this name.
        image: CT in HU.
        labels: Label image on the same grid.
        values: VerSe value of each value in the label image; None if it has VerSe values.
        key: Identifies the content of the files, see `with_keys`.
    """

    name: str
    image: Path
    labels: Path
    values: Values | None
    key: str = ""


def find_cases(folder: Path) -> list[UserCase]:
    """Return the cases of a folder.

    Raises:
        UserError: If there are no cases, a folder cannot be read, or files lack a partner; all
            problems are listed.
    """
    if not _is_folder(folder):
        raise UserError(f"There is no folder {folder}.", "Check the path after --data.")
    if _is_folder(folder / "labelsTr"):
        images = files_below(folder / "imagesTr", deep=False)
        masks = files_below(folder / "labelsTr", deep=False)
        values = _nnunet_values(folder / "dataset.json")
        return _cases(case_files(images, _CHANNEL, folder), case_files(masks, "", folder), values)
    files = files_below(folder)
    return _cases(case_files(files, IMAGE, folder), case_files(files, MASK, folder), None)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a parent folder cannot be read
        return False


def _cases(images: list[CaseFile], masks: list[CaseFile], values: Values | None) -> list[UserCase]:
    if not masks:
        raise UserError("There are no labelled cases in the folder.", _LAYOUTS)
    return [UserCase(name, i.path, m.path, values) for name, i, m in pair_files(images, masks)]


def _nnunet_values(path: Path) -> Values:
    """Return the VerSe value of each label value in dataset.json, by the name of the label.

    Raises:
        UserError: If the file is missing or damaged, a value cannot occur in a label image, or two
            labels have the same value or level.
    """
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        pairs = [
            (str(k), v) if not str(k).isdigit() else (str(v), int(k)) for k, v in labels.items()
        ]
        entries = [(name, _level(name), _label_value(name, value)) for name, value in pairs]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path.name} does not define the labels: {error}.",
            "Put nnU-Net's dataset.json beside imagesTr and labelsTr.",
        ) from error
    for index, field in ((1, "level"), (2, "value")):
        contents = [entry[index] for entry in entries if entry[index] is not None]
        if duplicates := [e[0] for e in entries if contents.count(e[index]) > 1]:
            raise UserError(
                f"{path.name} gives one {field} to several labels: {', '.join(duplicates)}.",
                "Give each label its own value and level.",
            )
    return {value: 0 if name is None else BY_NAME[name].value for _, name, value in entries}


def _label_value(name: str, value: object) -> int:
    """Return the value of a label; raise ValueError if it cannot occur in a label image."""
    whole = not isinstance(value, bool) and (not isinstance(value, float) or value.is_integer())
    number = int(value) if whole else -1
    if not 0 <= number <= _MOST_VALUE:
        raise ValueError(f"{name!r} has the value {value}, not one from 0 to {_MOST_VALUE}")
    return number


def _level(text: str) -> str | None:
    """Return the level for a label name such as "vertebrae_L1"; None if it is not a level."""
    label = level_named(text)
    return None if label is None else label.name


def with_keys(
    cases: list[UserCase], other_names: Collection[str], report: Callable[[str], None]
) -> list[UserCase]:
    """Return the user's cases with their keys; duplicates are left out and reported.

    A case whose files cannot be read gets a key that matches no case; `check_cases`
    then reports the error.

    Args:
        cases: Cases as found by `find_cases`.
        other_names: Names of other cases.
        report: Receives messages about cases with equal content.
    """
    out: list[UserCase] = []
    names: dict[str, str] = {}
    for case in cases:
        name = case.name
        if name in other_names or name.startswith(SYNTHETIC):
            name = PREFIX + name
        image, content = _digests(case)
        if content and content in names:
            report(f"{name}: the same files as {names[content]}; they are used once")
            continue
        if image and image in names:
            report(f"{name}: the same image as {names[image]}, with other labels")
        names[content] = names[image] = name
        out.append(replace(case, name=name, key=USER + content))
    return out


def _digests(case: UserCase) -> tuple[str, str]:
    """Return digests of a case's image and of its whole content; empty strings if unknown."""
    try:
        image, labels = sha256_of(case.image), sha256_of(case.labels)
        if any(map(_is_detached, (case.image, case.labels))):
            return "", ""
    except OSError:
        return "", ""
    values = None if case.values is None else sorted(case.values.items())
    return image, sha256(json.dumps([image, labels, values]).encode())


def _is_detached(path: Path) -> bool:
    """Return whether the header of a file refers to another file for the voxels."""
    if not path.name.lower().endswith((".nrrd", ".mha")):
        return False
    with path.open("rb") as file:
        return _DETACHED.search(file.read(_HEADER_BYTES)) is not None


def check_cases(cases: list[UserCase], report: Callable[[str], None], each: Mapper = map) -> None:
    """Read every file once, so that errors appear before a long training.

    Args:
        cases: Cases to check.
        report: Receives the name of each case when it has been read.
        each: Applies a function to many items, possibly in several processes.

    Raises:
        UserError: If files cannot be used; all problems are listed with their files.
    """
    problems = []
    for number, (case, found) in enumerate(zip(cases, each(_problems, cases), strict=True), 1):
        report(f"checked {number} of {len(cases)}: {case.name}")
        folder = case.name.rpartition("/")[0]
        problems += [f"{folder}/{text}" if folder else text for text in found]
    raise_if_any(problems)


def _problems(case: UserCase) -> list[str]:
    problems, volumes = [], []
    for path, read in ((case.image, read_volume), (case.labels, _reader(case))):
        try:
            volumes.append(read(path))
        except UserError as error:
            problems.append(f"{path.name}: {error.message}")
        except OSError as error:
            problems.append(f"{path.name}: {error.strerror}.")
    if problems:
        return problems
    image, labels = volumes
    if problem := hounsfield_problem(image):
        problems.append(f"{case.image.name}: {problem}")
    if difference := image.geometry.difference(labels.geometry):
        problems.append(
            f"{case.labels.name}: its grid is not that of {case.image.name}: {difference}"
        )
    known = {0, *(BY_VALUE if case.values is None else case.values)}
    present = set(np.unique(labels.array).tolist())
    if unknown := sorted(present - known):
        problems.append(f"{case.labels.name}: holds the unknown values {unknown[:5]}")
    elif not (translated(labels, case.values).array > 0).any():
        problems.append(f"{case.labels.name}: holds no vertebra")
    return problems


def _reader(case: UserCase) -> Callable[[Path], Volume]:
    """Return the function that reads the labels of a case."""
    return _verse_labels if case.values is None else read_labels


def _verse_labels(path: Path) -> Volume:
    """Return labels with VerSe values, translated from the numbering of the file.

    Raises:
        UserError: As `read_vertebra_labels`; or if a value is not a level.
    """
    spine = read_vertebra_labels(path)
    if spine.left_out:
        raise UserError(
            f"It holds {', '.join(name for name, _ in spine.left_out[:5])} besides vertebrae.",
            "Remove all other labels.",
        )
    return spine.volume


def translated(labels: Volume, values: Values | None) -> Volume:
    """Return a label image with VerSe values, uint8."""
    if values is None:
        return labels.with_array(labels.array.astype(np.uint8))
    lookup = np.zeros(max(values, default=0) + 1, np.uint8)
    for value, verse in values.items():
        lookup[value] = verse
    return labels.with_array(lookup[labels.array])


def load_user_cases(
    cases: list[UserCase], spacing_mm: float, report: Callable[[str], None]
) -> Iterator[Case]:
    """Yield the user's cases at the voxel spacing of a network.

    Bright voxels above the first and below the last labelled slice may be unlabelled vertebrae and
    are left out of the loss. Between these slices, voxels without a label are background.
    """
    for case in cases:
        report(case.name)
        image = read_volume(case.image)
        labels = translated(_reader(case)(case.labels), case.values).on(image.geometry)
        image, labels = canonical(image)[0], canonical(labels)[0]
        unknown = labels.with_array(_bright_outside_labels(image.array, labels.array))
        new = make_case(case.name, labels, spacing_mm, image=image, unknown=unknown)
        yield replace(new, key=case.key)


def _bright_outside_labels(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return a mask of bright voxels above and below all labels, uint8 (z, y, x)."""
    rows = np.flatnonzero((labels > 0).any(axis=(1, 2)))
    unknown = ndimage.binary_dilation(image > BONE_HU, iterations=2)
    unknown[rows[0] : rows[-1] + 1] = False
    return unknown.astype(np.uint8)
