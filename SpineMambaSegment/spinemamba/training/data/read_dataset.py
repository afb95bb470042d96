"""Training cases from the user's own folder, as VerSe (BIDS) or nnU-Net lay it out.

VerSe: ``..._ct.nii.gz`` and ``..._seg-vert_msk.nii.gz`` with the same beginning, anywhere below the
folder; `layout.paired` says what belongs together. nnU-Net (raw): ``imagesTr/CASE_0000.nii.gz``,
``labelsTr/CASE.nii.gz`` and ``dataset.json``, whose names of labels are translated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_NAME, BY_VALUE
from spinemamba.anatomy.terminology import level_named
from spinemamba.common.errors import UserError
from spinemamba.imaging.intensity import hounsfield_problem
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.volume import Volume
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.protocol.bids import IMAGE, MASK
from spinemamba.training.data.dataset import Case, make_case
from spinemamba.training.data.layout import Found, files_below, named, paired, refuse
from spinemamba.training.data.public_cases import BONE_HU

CHANNEL = "_0000"
MOST_VALUE = 65535
"""Largest label that dataset.json may name: what 16 bits hold."""

LAYOUTS = (
    f"Lay it out as VerSe (NAME{IMAGE}.nii.gz and NAME{MASK}.nii.gz) or as nnU-Net "
    "(imagesTr, labelsTr, dataset.json)."
)

Values = dict[int, int]


@dataclass(frozen=True)
class UserCase:
    """One case of the user's.

    Attributes:
        name: Beginning of its files' names, with the folder in front where several have that.
        image: CT in HU.
        labels: Label image on the same grid.
        values: VerSe value of each value in the label image; None if they are VerSe's already.
        key: What the files hold, see `cache.with_keys`.
    """

    name: str
    image: Path
    labels: Path
    values: Values | None
    key: str = ""


def find_cases(folder: Path) -> list[UserCase]:
    """Return the cases of a folder.

    Raises:
        UserError: If there is none, a folder cannot be read, or files lack their partner; all are
            listed.
    """
    if not _is_folder(folder):
        raise UserError(f"There is no folder {folder}.", "Check the path after --data.")
    if _is_folder(folder / "labelsTr"):
        images = files_below(folder / "imagesTr", deep=False)
        masks = files_below(folder / "labelsTr", deep=False)
        values = _nnunet_values(folder / "dataset.json")
        return _cases(named(images, CHANNEL, folder), named(masks, "", folder), values)
    files = files_below(folder)
    return _cases(named(files, IMAGE, folder), named(files, MASK, folder), None)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a folder above it may not be read
        return False


def _cases(images: list[Found], masks: list[Found], values: Values | None) -> list[UserCase]:
    if not masks:
        raise UserError("There are no labelled cases in the folder.", LAYOUTS)
    return [UserCase(name, i.path, m.path, values) for name, i, m in paired(images, masks)]


def _nnunet_values(path: Path) -> Values:
    """Return VerSe's value of each label in dataset.json, by the label's name.

    Raises:
        UserError: If the file is missing or damaged, a value is none that a label image can hold,
            or two labels have one value or one level.
    """
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        pairs = [
            (str(k), v) if not str(k).isdigit() else (str(v), int(k)) for k, v in labels.items()
        ]
        entries = [(name, _level(name), _label_value(name, value)) for name, value in pairs]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path.name} does not say what the labels are: {error}.",
            "Put nnU-Net's dataset.json beside imagesTr and labelsTr.",
        ) from error
    for place, what in ((1, "level"), (2, "value")):
        every = [entry[place] for entry in entries if entry[place] is not None]
        if twice := [e[0] for e in entries if every.count(e[place]) > 1]:
            raise UserError(
                f"{path.name} gives one {what} to several labels: {', '.join(twice)}.",
                "Give each label a value and a level of its own.",
            )
    return {value: 0 if name is None else BY_NAME[name].value for _, name, value in entries}


def _label_value(name: str, value: object) -> int:
    """Return the value of a label; ValueError if no label image can hold it."""
    whole = not isinstance(value, bool) and (not isinstance(value, float) or value.is_integer())
    number = int(value) if whole else -1
    if not 0 <= number <= MOST_VALUE:
        raise ValueError(f"{name!r} has the value {value}, not one from 0 to {MOST_VALUE}")
    return number


def _level(text: str) -> str | None:
    """Return the level that a label's name such as "vertebrae_L1" means; None if it is none."""
    label = level_named(text)
    return None if label is None else label.name


def check_cases(cases: list[UserCase], report: Callable[[str], None]) -> None:
    """Read every file once, before hours of work.

    Raises:
        UserError: If any cannot be trained on; all are listed, each with its file.
    """
    problems = []
    for number, case in enumerate(cases, start=1):
        report(f"checking {number} of {len(cases)}: {case.name}")
        folder = case.name.rpartition("/")[0]
        problems += [f"{folder}/{text}" if folder else text for text in _problems(case)]
    refuse(problems)


def _problems(case: UserCase) -> list[str]:
    out, volumes = [], []
    for path, read in ((case.image, read_volume), (case.labels, _reader(case))):
        try:
            volumes.append(read(path))
        except UserError as error:
            out.append(f"{path.name}: {error.message}")
        except OSError as error:
            out.append(f"{path.name}: {error.strerror}.")
    if out:
        return out
    image, labels = volumes
    if problem := hounsfield_problem(image):
        out.append(f"{case.image.name}: {problem}")
    if difference := image.geometry.difference(labels.geometry):
        out.append(f"{case.labels.name}: its grid is not that of {case.image.name}: {difference}")
    known = {0, *(BY_VALUE if case.values is None else case.values)}
    present = set(np.unique(labels.array).tolist())
    if strange := sorted(present - known):
        out.append(f"{case.labels.name}: holds the unknown values {strange[:5]}")
    elif not (translated(labels, case.values).array > 0).any():
        out.append(f"{case.labels.name}: holds no vertebra")
    return out


def _reader(case: UserCase) -> Callable[[Path], Volume]:
    """Return what reads the labels of a case; dataset.json says what its values mean."""
    return _verse_labels if case.values is None else read_labels


def _verse_labels(path: Path) -> Volume:
    """Return labels in VerSe's numbers, whatever those of the file are.

    Raises:
        UserError: As `read_vertebra_labels`; if a value is no level.
    """
    spine = read_vertebra_labels(path)
    if spine.left_out:
        raise UserError(
            f"It holds {', '.join(name for name, _ in spine.left_out[:5])} beside vertebrae.",
            "Leave only vertebrae.",
        )
    return spine.volume


def translated(labels: Volume, values: Values | None) -> Volume:
    """Return a label image with VerSe's values, uint8."""
    if values is None:
        return labels.with_array(labels.array.astype(np.uint8))
    lookup = np.zeros(max(values, default=0) + 1, np.uint8)
    for value, verse in values.items():
        lookup[value] = verse
    return labels.with_array(lookup[labels.array])


def load_user_cases(
    cases: list[UserCase], spacing_mm: float, report: Callable[[str], None]
) -> Iterator[Case]:
    """Yield the user's cases on the grid of a network.

    What is bright above the first and below the last label is a vertebra that nobody labelled,
    as far as anybody knows: it is left out. Between them, what has no label is background.
    """
    for case in cases:
        report(case.name)
        image = read_volume(case.image)
        labels = translated(_reader(case)(case.labels), case.values).on(image.geometry)
        image, labels = canonical(image)[0], canonical(labels)[0]
        unknown = labels.with_array(_beyond(image.array, labels.array))
        made = make_case(case.name, labels, spacing_mm, image=image, unknown=unknown)
        yield replace(made, key=case.key)


def _beyond(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero((labels > 0).any(axis=(1, 2)))
    unknown = ndimage.binary_dilation(image > BONE_HU, iterations=2)
    unknown[rows[0] : rows[-1] + 1] = False
    return unknown.astype(np.uint8)
