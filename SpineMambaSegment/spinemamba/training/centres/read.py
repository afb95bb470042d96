"""Folders of MR volumes with centres: ``NAME.nii.gz`` and ``NAME_centres.json`` or ``.csv``.

The JSON file has an entry ``centres``, a list of objects with ``level`` ("L3", "S1") and ``lps_mm``
(x, y, z); further entries are ignored. The CSV file has the columns level, x, y and z.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

from spinemamba.anatomy.terminology import level_named
from spinemamba.common.errors import UserError
from spinemamba.training.layouts.pairing import SUFFIXES, files_below, raise_if_any

_ENDING = "_centres"
_IMAGE_ENDINGS = ("", "_img", "_mr")
_LEAST = 3
"""Fewer centres do not tell the direction of the spine at each of them."""


@dataclass(frozen=True)
class Centre:
    """Centre of one vertebral body.

    Attributes:
        value: VerSe value of its level; the sacrum stands for its first body.
        lps_mm: Position (x, y, z).
    """

    value: int
    lps_mm: tuple[float, float, float]


@dataclass(frozen=True)
class CentreCase:
    """One volume with centres.

    Attributes:
        name: Name of the case.
        image: MR volume.
        file: File of the centres.
    """

    name: str
    image: Path
    file: Path


def find_centre_cases(folder: Path) -> tuple[CentreCase, ...]:
    """Return the volumes with centres below a folder, sorted by name.

    Raises:
        UserError: If there are none, or a file of centres has no image or several; all such files
            are listed (INPUT_BAD).
    """
    files = files_below(folder)
    lists = [p for p in files if p.suffix in (".json", ".csv") and p.stem.endswith(_ENDING)]
    cases, problems = [], []
    for path in lists:
        name = path.stem.removesuffix(_ENDING)
        names = {f"{name}{ending}{suffix}" for ending in _IMAGE_ENDINGS for suffix in SUFFIXES}
        images = [p for p in files if p.parent == path.parent and p.name in names]
        if len(images) == 1:
            cases.append(CentreCase(name, images[0], path))
        else:
            problems.append(f"{path.name}: {len(images)} images of the name {name} beside it")
    names = [case.name for case in cases]
    problems += [
        f"{name}: the name of several cases" for name in set(names) if names.count(name) > 1
    ]
    raise_if_any(problems)
    if not cases:
        raise UserError(
            f"{folder} holds no file whose name ends with {_ENDING}.json or {_ENDING}.csv.",
            "Resources/Docs/training.md describes such a folder.",
        )
    return tuple(sorted(cases, key=lambda case: case.name))


def read_centres(path: Path) -> tuple[Centre, ...]:
    """Return the centres in a file, from head to foot.

    Raises:
        UserError: If the file cannot be read, a level is unknown or occurs twice, a position is not
            three finite numbers, or there are fewer than three centres (INPUT_BAD).
    """
    try:
        rows = _csv_rows(path) if path.suffix == ".csv" else _json_rows(path)
        centres = tuple(_centre(*row) for row in rows)
        values = [centre.value for centre in centres]
        if len(centres) < _LEAST:
            raise ValueError(f"it has {len(centres)} centres; {_LEAST} are needed")
        if len(set(values)) < len(values):
            raise ValueError("a level occurs twice")
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = f"the entry {error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"{path.name} is not a list of centres: {text}.",
            "Correct it; Resources/Docs/training.md describes the format.",
        ) from error
    return tuple(sorted(centres, key=lambda centre: -centre.lps_mm[2]))


def _json_rows(path: Path) -> list[tuple[object, object]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return [(entry["level"], entry["lps_mm"]) for entry in content["centres"]]


def _csv_rows(path: Path) -> list[tuple[object, object]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [
            (row["level"], [float(row[axis]) for axis in "xyz"]) for row in csv.DictReader(file)
        ]


def _centre(level: object, position: object) -> Centre:
    label = level_named(str(level))
    if label is None:
        raise ValueError(f"{str(level)[:20]!r} is not a level")
    x, y, z = (float(number) for number in position)  # type: ignore[attr-defined]
    if not all(map(math.isfinite, (x, y, z))):
        raise ValueError(f"the position of {label.name} is not finite")
    return Centre(label.value, (x, y, z))
