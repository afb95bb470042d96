"""What Python can use of Qt, CTK and Slicer inside Slicer; `Testing/Tools/qt_names.py` read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PATH = Path(__file__).resolve().parents[2] / "Tools" / "qt_names.json"

BUILT_IN = frozenset(
    {
        *("className", "connect", "delete", "disconnect", "help", "inherits", "name", "objectName"),
        *("children", "findChild", "findChildren", "parent", "property", "setProperty"),
        *("deleteLater", "installEventFilter", "removeEventFilter"),
    }
)
"""What PythonQt adds to every object."""


@dataclass(frozen=True)
class _Class:
    bases: tuple[str, ...]
    names: frozenset[str]
    signals: frozenset[str]


_content = json.loads(_PATH.read_text(encoding="utf-8"))
CLASSES = {
    name: _Class(tuple(entry["bases"]), frozenset(entry["names"]), frozenset(entry["signals"]))
    for name, entry in _content["classes"].items()
}
"""Base classes and own names of each class."""

FUNCTIONS = frozenset(_content["slicer.util"])
"""Functions of slicer.util that all supported versions of Slicer have."""


@cache
def names_of(kind: str) -> frozenset[str]:
    """Return the names of a class with those of its base classes."""
    entry = CLASSES.get(kind)
    return BUILT_IN if entry is None else entry.names.union(BUILT_IN, *map(names_of, entry.bases))


@cache
def signals_of(kind: str) -> frozenset[str]:
    """Return the signatures of all signals of a class and of its base classes."""
    entry = CLASSES.get(kind)
    return frozenset() if entry is None else entry.signals.union(*map(signals_of, entry.bases))


def has(kind: str, name: str) -> bool:
    """Return whether a class or one of its base classes has a name.

    PythonQt also finds a name with an underscore at its end, such as ``exec_``.
    """
    return name.removesuffix("_") in names_of(kind)
