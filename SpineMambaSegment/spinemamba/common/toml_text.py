"""Write TOML: tables of numbers, texts, truth values and lists, with comments.

The standard library reads TOML and does not write it. `tomllib` reads what this module writes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 96


def toml_text(values: Mapping[str, Any], comments: Mapping[str, str] | None = None) -> str:
    """Return a TOML document.

    Args:
        values: Entries; a mapping becomes a table, and None an omitted entry.
        comments: Comment above an entry, by its path such as "schedule.steps".

    Raises:
        ValueError: If a number is NaN or infinite, or a value has another type.
    """
    return "\n".join(_table(values, "", comments or {})).lstrip("\n") + "\n"


def _table(values: Mapping[str, Any], path: str, comments: Mapping[str, str]) -> list[str]:
    """Return the lines of a table: first its own entries, then the tables in it."""
    lines: list[str] = []
    tables: list[str] = []
    for name, value in values.items():
        inner = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            head = ".".join(map(_key, inner.split(".")))
            tables += ["", *_comment(comments.get(inner, "")), f"[{head}]"]
            tables += _table(value, inner, comments)
        elif value is not None:
            lines += _comment(comments.get(inner, ""))
            lines.append(f"{_key(name)} = {_value(value, inner)}")
    return lines + tables


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _string(name)


def _comment(text: str) -> list[str]:
    """Return the lines of a comment, wrapped at spaces."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < _WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(f"# {word}")
    return lines


def _value(value: Any, path: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{path} is {value}, not a finite number")
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item, path) for item in value)}]"
    raise ValueError(f"{path} is a {type(value).__name__}, which TOML has not")


def _string(text: str) -> str:
    """Return a basic string; JSON escapes all that TOML wants escaped, except delete."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
