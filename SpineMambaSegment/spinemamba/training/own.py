"""Training cases from the user's own folder, as VerSe (BIDS) or nnU-Net lay it out.

VerSe: ``..._ct.nii.gz`` and ``..._seg-vert_msk.nii.gz`` with the same beginning, anywhere below the
folder. nnU-Net (raw): ``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz`` and
``dataset.json``, whose names of labels are translated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinemamba.case_layout import IMAGE, MASK
from spinemamba.errors import UserError
from spinemamba.image_io import read_labels, read_volume
from spinemamba.label_files import read_vertebra_labels
from spinemamba.labels import BY_NAME, BY_VALUE
from spinemamba.orientation import canonical
from spinemamba.terminology import level_named
from spinemamba.training.bank import Case, make_case
from spinemamba.training.real import BONE_HU
from spinemamba.volume import Volume

CHANNEL = "_0000"
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
LAYOUTS = (
    f"Lay it out as VerSe (NAME{IMAGE}.nii.gz and NAME{MASK}.nii.gz) or as nnU-Net "
    "(imagesTr, labelsTr, dataset.json)."
)

Values = dict[int, int]


@dataclass(frozen=True)
class OwnCase:
    """One case of the user's.

    Attributes:
        name: Beginning of its files' names.
        image: CT in HU.
        labels: Label image on the same grid.
        values: VerSe value of each value in the label image; None if they are VerSe's already.
    """

    name: str
    image: Path
    labels: Path
    values: Values | None


def find_cases(folder: Path) -> list[OwnCase]:
    """Return the cases of a folder.

    Raises:
        UserError: If there is none, or files lack their partner; all are listed.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.", "Check the path after --data.")
    if (folder / "labelsTr").is_dir():
        return _nnunet_cases(folder)
    return _verse_cases(folder)


def _verse_cases(folder: Path) -> list[OwnCase]:
    images = _by_name(folder.rglob("*"), IMAGE)
    masks = _by_name(folder.rglob("*"), MASK)
    return _paired(images, masks, None)


def _nnunet_cases(folder: Path) -> list[OwnCase]:
    images = _by_name((folder / "imagesTr").iterdir(), CHANNEL) if _has(folder, "imagesTr") else {}
    masks = _by_name((folder / "labelsTr").iterdir(), "")
    return _paired(images, masks, _nnunet_values(folder / "dataset.json"))


def _has(folder: Path, name: str) -> bool:
    return (folder / name).is_dir()


def _by_name(paths: Iterator[Path], ending: str) -> dict[str, Path]:
    """Return the files whose names end so before their format, by what comes before that."""
    found = {}
    for path in sorted(paths):
        for suffix in SUFFIXES:
            if path.name.endswith(ending + suffix):
                found[path.name.removesuffix(ending + suffix)] = path
                break
    return found


def _paired(
    images: dict[str, Path], masks: dict[str, Path], values: Values | None
) -> list[OwnCase]:
    if not masks:
        raise UserError("There are no labelled cases in the folder.", LAYOUTS)
    problems = [f"{masks[name].name}: no image beside it" for name in masks.keys() - images.keys()]
    problems += [f"{images[n].name}: no labels beside it" for n in images.keys() - masks.keys()]
    _refuse(problems)
    return [OwnCase(name, images[name], masks[name], values) for name in sorted(masks)]


def _nnunet_values(path: Path) -> Values:
    """Return VerSe's value of each label in dataset.json, by the label's name.

    Raises:
        UserError: If the file is missing or damaged, or a name is no level.
    """
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        pairs = [
            (str(k), v) if not str(k).isdigit() else (str(v), int(k)) for k, v in labels.items()
        ]
        entries = [(_level(name), int(value)) for name, value in pairs]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path.name} does not say what the labels are: {error}.",
            "Put nnU-Net's dataset.json beside imagesTr and labelsTr.",
        ) from error
    return dict((value, 0 if name is None else BY_NAME[name].value) for name, value in entries)


def _level(text: str) -> str | None:
    """Return the level that a label's name such as "vertebrae_L1" means; None if it is none."""
    label = level_named(text)
    return None if label is None else label.name


def check_cases(cases: list[OwnCase], report: Callable[[str], None]) -> None:
    """Read every file once, before hours of work.

    Raises:
        UserError: If any cannot be trained on; all are listed, each with its file.
    """
    problems = []
    for number, case in enumerate(cases, start=1):
        report(f"checking {number} of {len(cases)}: {case.name}")
        problems += _problems(case)
    _refuse(problems)


def _problems(case: OwnCase) -> list[str]:
    out, volumes = [], []
    for path, read in ((case.image, read_volume), (case.labels, _reader(case))):
        try:
            volumes.append(read(path))
        except UserError as error:
            out.append(f"{path.name}: {error.message}")
    if out:
        return out
    image, labels = volumes
    if not image.geometry.matches(labels.geometry):
        out.append(f"{case.labels.name}: its grid is not that of {case.image.name}")
    known = {0, *(BY_VALUE if case.values is None else case.values)}
    present = set(np.unique(labels.array).tolist())
    if strange := sorted(present - known):
        out.append(f"{case.labels.name}: holds the unknown values {strange[:5]}")
    elif not (translated(labels, case.values).array > 0).any():
        out.append(f"{case.labels.name}: holds no vertebra")
    return out


def _reader(case: OwnCase) -> Callable[[Path], Volume]:
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


def _refuse(problems: list[str]) -> None:
    if problems:
        shown = "\n".join(f"  {text}" for text in sorted(problems))
        raise UserError(f"{len(problems)} files cannot be used:\n{shown}\n", "Mend or remove them.")


def translated(labels: Volume, values: Values | None) -> Volume:
    """Return a label image with VerSe's values, uint8."""
    if values is None:
        return labels.with_array(labels.array.astype(np.uint8))
    lookup = np.zeros(max(values) + 1, np.uint8)
    for value, verse in values.items():
        lookup[value] = verse
    return labels.with_array(lookup[labels.array])


def own_cases(
    cases: list[OwnCase], spacing_mm: float, report: Callable[[str], None]
) -> Iterator[Case]:
    """Yield the user's cases on the grid of a network.

    What is bright above the first and below the last label is a vertebra that nobody labelled,
    as far as anybody knows: it is left out. Between them, what has no label is background.
    """
    for case in cases:
        report(case.name)
        image = canonical(read_volume(case.image))[0]
        labels = canonical(translated(_reader(case)(case.labels), case.values))[0]
        unknown = labels.with_array(_beyond(image.array, labels.array))
        yield make_case(case.name, labels, spacing_mm, image=image, unknown=unknown)


def _beyond(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero((labels > 0).any(axis=(1, 2)))
    unknown = ndimage.binary_dilation(image > BONE_HU, iterations=2)
    unknown[rows[0] : rows[-1] + 1] = False
    return unknown.astype(np.uint8)
