"""Numbering schemes of label maps: the level of each value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinemamba.anatomy.labels import BY_NAME, LABELS, RARE, Label
from spinemamba.anatomy.terminology import level_named
from spinemamba.common.errors import UserError
from spinemamba.common.json_schema import load

AUTO = "auto"
OPTION = (
    "verse|totalsegmentator|totalsegmentator-v1|totalsegmentator-mr|totalspineseg|vista3d|FILE.json"
)
"""Values of ``--labels`` besides `AUTO`."""


@dataclass(frozen=True)
class Numbering:
    """Numbering scheme of a label map.

    Attributes:
        title: Display name.
        levels: Level of each value. Several values may be parts of one level.
        names: Names of other values, as far as known.
    """

    title: str
    levels: Mapping[int, Label]
    names: Mapping[int, str]

    def name_of(self, value: int) -> str:
        """Return the name of a value."""
        return self.names.get(value, f"value {value}")


def upwards(first: int, lowest: str, highest: str) -> dict[int, Label]:
    """Return the levels without T13 and L6, numbered upwards from the lowest."""
    usual = [label for label in reversed(LABELS) if label.name not in RARE]
    names = [label.name for label in usual]
    chosen = usual[names.index(lowest) : names.index(highest) + 1]
    return dict(enumerate(chosen, start=first))


VERSE = Numbering("VerSe", {label.value: label for label in LABELS}, {})
TOTALSEGMENTATOR = Numbering(
    "TotalSegmentator",
    {25: BY_NAME["Sacrum"], 26: BY_NAME["Sacrum"], **upwards(27, "L5", "C1")},
    {},
)
"""Class map of version 2: 26 is S1, and 25 the rest of the sacrum."""

TOTALSEGMENTATOR_V1 = Numbering(
    "TotalSegmentator version 1", {**upwards(18, "L5", "C1"), 92: BY_NAME["Sacrum"]}, {}
)
TOTALSEGMENTATOR_MR = Numbering(
    "TotalSegmentator's vertebrae_mr", {1: BY_NAME["Sacrum"], **upwards(2, "L5", "C1")}, {}
)
TOTALSPINESEG = Numbering(
    "TotalSpineSeg",
    {
        **{10 + k: BY_NAME[f"C{k}"] for k in range(1, 8)},
        **{20 + k: BY_NAME[f"T{k}"] for k in range(1, 13)},
        **{40 + k: BY_NAME[f"L{k}"] for k in range(1, 6)},
        50: BY_NAME["Sacrum"],
    },
    {},
)
VISTA3D = Numbering(
    "VISTA3D",
    {
        **upwards(33, "L5", "C1"),
        97: BY_NAME["Sacrum"],
        127: BY_NAME["Sacrum"],
        131: BY_NAME["L6"],
    },
    {},
)
"""Label dictionary of MONAI's VISTA3D; 127 is S1."""

BUILT_IN = {
    "verse": VERSE,
    "totalsegmentator": TOTALSEGMENTATOR,
    "totalsegmentator-v1": TOTALSEGMENTATOR_V1,
    "totalsegmentator-mr": TOTALSEGMENTATOR_MR,
    "totalspineseg": TOTALSPINESEG,
    "vista3d": VISTA3D,
}


def numbering_of(text: str) -> Numbering | None:
    """Return the numbering scheme for a value of ``--labels``; None for `AUTO`.

    Args:
        text: `AUTO`, one of `BUILT_IN`, or the path of a JSON file with names and numbers.

    Raises:
        UserError: If the text is neither, or the file is not a numbering scheme.
    """
    if text.lower() == AUTO:
        return None
    if text.lower() in BUILT_IN:
        return BUILT_IN[text.lower()]
    if not text.lower().endswith(".json"):
        raise UserError(
            f"'{text}' is not a numbering scheme of labels.", f"Write --labels {OPTION}."
        )
    return _read_numbering(Path(text))


def _read_numbering(path: Path) -> Numbering:
    """Read a numbering scheme from a JSON file.

    The file is a ``dataset.json`` of nnU-Net, or an object of names and numbers. Both may map names
    to numbers or numbers to names. Names that are not levels belong to other structures.

    Raises:
        UserError: If the file cannot be read, a number has two names, two numbers have the same
            level, or no name is a level.
    """
    names = _names(path)
    levels = {}
    for value, name in names.items():
        label = level_named(name)
        if label is None or value == 0:
            continue
        twin = next((v for v, other in levels.items() if other is label), None)
        # TotalSegmentator separates S1 from the rest of the sacrum; both are parts of one level.
        if twin is not None and label is not BY_NAME["Sacrum"]:
            raise _wrong(path, f"both {twin} and {value} are {label.name}")
        levels[value] = label
    if not levels:
        raise _wrong(path, "no name in it is a level, such as L1 or vertebrae_L1")
    return Numbering(path.name, levels, names)


def _names(path: Path) -> dict[int, str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = load(text)
    except OSError as error:
        raise UserError(
            f"{path.name} cannot be read: {error.strerror}.", f"Write --labels {OPTION}."
        ) from error
    except ValueError as error:
        raise _wrong(path, str(error)) from error
    entries = content.get("labels", content) if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        raise _wrong(path, "there are no names with numbers in it")
    names: dict[int, str] = {}
    for key, entry in entries.items():
        value, name = _pair(path, key, entry)
        if names.get(value, name) != name:
            raise _wrong(path, f"{value} is both {names[value]} and {name}")
        names[value] = name
    return names


def _pair(path: Path, key: str, entry: Any) -> tuple[int, str]:
    """Return number and name of an entry; either may be the key."""
    number, name = (key, entry) if key.strip().isdecimal() else (entry, key)
    whole = isinstance(number, int) and not isinstance(number, bool)
    if isinstance(number, str) and number.strip().isdecimal():
        number, whole = int(number), True
    if not whole or number < 0 or not isinstance(name, str):
        raise _wrong(path, f"'{key}': {json.dumps(entry)} is not a name with one number")
    return number, name


def _wrong(path: Path, why: str) -> UserError:
    return UserError(
        f"{path.name} does not say what the labels are: {why}.",
        'Give nnU-Net\'s dataset.json, or a file such as {"L1": 1, "L2": 2}.',
    )
