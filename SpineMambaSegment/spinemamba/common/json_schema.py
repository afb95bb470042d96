"""JSON files whose content is a dataclass: one checked reader and one writer for all of them.

Standard library only. The type hints of a dataclass are its schema. A file is refused, with the
path of the entry, if an entry has another type, is missing or is unknown, if a number is NaN or
infinite, or if a name occurs twice. `JSON Schema`_ files for other programs follow from the same
hints, see ``Testing/Tools/json_schemas.py``.

.. _JSON Schema: https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from spinemamba.common.errors import Code, UserError

T = TypeVar("T")

OPTIONAL = {"optional": True}
"""Metadata of a field with a default that files of the current version may lack."""

_SHOWN = 40
"""Number of characters of a wrong value in a message."""

_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Limits:
    """Valid values of a type, as in ``Annotated[float, Limits(0, 1)]``.

    Attributes:
        minimum: Smallest number.
        maximum: Largest number.
        choices: Valid texts; empty for any.
        pattern: Regular expression for the whole text; with ``choices``, for further texts.
    """

    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""

    def problem(self, value: Any) -> str:
        """Return what a value must be; empty if it is valid."""
        if self.minimum is not None and value < self.minimum:
            return f"at least {self.minimum:g}"
        if self.maximum is not None and value > self.maximum:
            return f"at most {self.maximum:g}"
        if self.choices and value in self.choices:
            return ""
        if self.pattern and re.fullmatch(self.pattern, value):
            return ""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return f"a text like {self.pattern}" if self.pattern else ""


NotEmpty = Annotated[str, Limits(pattern=r"[\s\S]*\S[\s\S]*")]
"""A text with at least one character that is not white space."""

Sha256 = Annotated[str, Limits(pattern="[0-9a-f]{64}")]
"""A SHA-256 in hexadecimal."""


@dataclass(frozen=True)
class JsonFormat(Generic[T]):
    """A kind of JSON file.

    Attributes:
        kind: Dataclass of the content; or several, by the value of the entry ``tag``.
        noun: What a valid file is, for messages.
        remedy: What to do about an invalid file.
        code: Kind of error of an invalid file.
        version: Written and read as the entry "schema"; None if the format has no versions.
        renamed: Entries that the version after the given one renamed: old path to new name.
            ``[]`` in a path stands for every element of a list.
        tag: Name of the entry that selects one of several dataclasses.
        defaults: Whether an entry with a default may be missing.
        ignores_unknown: Whether unknown entries are ignored.
        check: Further check of the content; raises ValueError.
    """

    kind: type[T] | Mapping[str, type]
    noun: str
    remedy: str
    code: Code = Code.INPUT_BAD
    version: int | None = None
    renamed: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    tag: str = ""
    defaults: bool = False
    ignores_unknown: bool = False
    check: Callable[[T], None] | None = None

    def read(self, path: Path, name: str = "") -> T:
        """Read and check a file.

        Args:
            path: The file.
            name: How messages call the file; empty for its name without folders.

        Raises:
            UserError: If the file cannot be read, is damaged or has another version.
        """
        try:
            return self.parse_text(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self.refusal(name or path.name, error) from error

    def refusal(self, name: str, error: Exception) -> UserError:
        """Return the error for an invalid file.

        Args:
            name: How the message calls the file.
            error: The reason, raised by `parse` or by the file system.
        """
        if isinstance(error, NewerVersionError):
            remedy = f"Install a newer version of this program. {self.remedy}"
            return UserError(f"{name} has {error}.", remedy, self.code)
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        return UserError(f"{name} is not {self.noun}: {reason}.", self.remedy, self.code)

    def parse_text(self, text: str) -> T:
        """Return the content of a JSON text.

        Raises:
            ValueError: As `parse`, or if the text is not JSON.
        """
        return self.parse(load(text))

    def parse(self, values: Any) -> T:
        """Return the content given as JSON values.

        Raises:
            ValueError: If the version is not supported, or an entry is missing, unknown or of
                another type.
        """
        if not isinstance(values, dict):
            raise _wrong("the content", "a table of names and values", values)
        values = self._current(values)
        kind = self.kind
        if not isinstance(kind, type):
            name = values.pop(self.tag, None)
            if not isinstance(name, str) or name not in kind:
                raise ValueError(f"{self.tag} must be one of {', '.join(kind)}, got {_text(name)}")
            kind = kind[name]
        content = _Reader(self.defaults, self.ignores_unknown).record(kind, values, "")
        if self.check is not None:
            self.check(content)
        return content

    def to_json(self, content: T) -> dict[str, Any]:
        """Return JSON values that `parse` reads."""
        head: dict[str, Any] = {} if self.version is None else {"schema": self.version}
        if not isinstance(self.kind, type):
            head[self.tag] = next(n for n, kind in self.kind.items() if type(content) is kind)
        values = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(content).items()
        }
        return head | values

    def to_text(self, content: T, *, indent: int | None = 2, ascii_only: bool = True) -> str:
        """Return a JSON text that `parse_text` reads, with a line feed at its end.

        Raises:
            ValueError: If a number is NaN or infinite.
        """
        values = self.to_json(content)
        text = json.dumps(values, indent=indent, allow_nan=False, ensure_ascii=ascii_only)
        return text + "\n"

    def write(self, content: T, path: Path) -> None:
        """Write a file; not atomic, so callers pass a path from `atomic_files`."""
        path.write_text(self.to_text(content), encoding="utf-8")

    def _current(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the entries of a file without its version, with the names of the current one."""
        values = dict(values)
        if self.version is None:
            return values
        version = values.pop("schema", None)
        oldest = self.version - len(self.renamed)
        known = f"schema {_text(version)}; this version reads {self.version}"
        if type(version) is not int or version < oldest:
            raise ValueError(known)
        if version > self.version:
            raise NewerVersionError(known)
        for older in range(version, self.version):
            for path, name in self.renamed[older].items():
                values = _renamed(values, path, name)
        return values


class NewerVersionError(ValueError):
    """A file was written by a newer version of the program."""


def load(text: str) -> Any:
    """Return the values of a JSON text.

    Raises:
        ValueError: If it is not JSON, contains NaN or infinite numbers or a name twice in one
            table, or is nested too deeply.
    """
    try:
        return json.loads(
            text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_table
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def check_limits(content: Any) -> None:
    """Check the fields of a dataclass that have `Limits` of their own.

    Raises:
        ValueError: If a value is not valid.
    """
    for name, hint in type_hints(type(content)).items():
        if get_origin(hint) is Annotated:
            _check(get_args(hint)[1:], getattr(content, name), name)


@cache
def type_hints(kind: type) -> dict[str, Any]:
    """Return the type of each field of a dataclass, in the order of the fields."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


def may_miss(entry: Field, *, defaults: bool) -> bool:
    """Return whether a file may lack an entry.

    Args:
        entry: Field of a dataclass.
        defaults: As in `JsonFormat`.
    """
    has_default = entry.default is not MISSING or entry.default_factory is not MISSING
    return has_default and (defaults or entry.metadata.get("optional", False))


@dataclass(frozen=True)
class _Reader:
    """Converts JSON values to types; messages have the path of the entry."""

    defaults: bool
    ignores_unknown: bool

    def record(self, kind: type, values: Any, path: str) -> Any:
        """Return a dataclass."""
        values = _dict(values, path)
        hints = type_hints(kind)
        required = {f.name for f in fields(kind) if not may_miss(f, defaults=self.defaults)}
        prefix = f"{path} has " if path else ""
        if missing := required - set(values):
            raise ValueError(f"{prefix}missing entries: {', '.join(sorted(missing))}")
        unknown = set(values) - set(hints)
        if unknown and not self.ignores_unknown:
            raise ValueError(f"{prefix}unknown entries: {', '.join(sorted(unknown))[:_SHOWN]}")
        entries = {
            name: self.value(hint, values[name], f"{path}.{name}" if path else name)
            for name, hint in hints.items()
            if name in values
        }
        try:
            return kind(**entries)
        except ValueError as error:
            raise ValueError(f"{path}: {error}" if path else str(error)) from error

    def value(self, hint: Any, value: Any, path: str) -> Any:
        """Return a value of any supported type."""
        origin, arguments = get_origin(hint), get_args(hint)
        if hint is Any:
            return value
        if origin is Annotated:
            value = self.value(arguments[0], value, path)
            _check(arguments[1:], value, path)
            return value
        if origin is Literal:
            if not isinstance(value, str) or value not in arguments:
                raise _wrong(path, f"one of {', '.join(arguments)}", value)
            return value
        if origin in (Union, UnionType):
            (kind,) = (argument for argument in arguments if argument is not NoneType)
            return None if value is None else self.value(kind, value, path)
        if origin is tuple:
            return self.items(arguments, value, path)
        if origin in (dict, Mapping):
            entries = _dict(value, path).items()
            return {name: self.value(arguments[1], v, f"{path}.{name}") for name, v in entries}
        if is_dataclass(hint):
            return self.record(hint, value, path)
        return _plain(hint, value, path)

    def items(self, kinds: tuple[Any, ...], values: Any, path: str) -> tuple[Any, ...]:
        """Return a tuple of any length, if ``kinds`` ends with ``...``, or of a fixed one."""
        if not isinstance(values, list | tuple):
            raise _wrong(path, "a list", values)
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(values)
        if len(values) != len(kinds):
            raise _wrong(path, f"a list of {len(kinds)}", values)
        pairs = enumerate(zip(kinds, values, strict=True))
        return tuple(self.value(kind, value, f"{path}[{k}]") for k, (kind, value) in pairs)


def _plain(kind: type, value: Any, path: str) -> Any:
    if kind is Path:
        return Path(_plain(str, value, path))
    # bool is a subclass of int, so isinstance would accept true as a number.
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind is float and (whole or isinstance(value, float)):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
        raise _wrong(path, "a finite number", value)
    if whole if kind is int else isinstance(value, kind):
        return value
    raise _wrong(path, _WORDS[kind], value)


def _dict(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(path, "a table of names and values", value)
    return value


def _check(annotations: tuple[Any, ...], value: Any, path: str) -> None:
    for limits in annotations:
        if problem := limits.problem(value):
            raise _wrong(path, problem, value)


def _wrong(path: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{path} must be {expected}, got {_text(value)}")


def _text(value: Any) -> str:
    try:
        text = json.dumps(value, default=str)
    except RecursionError:
        return "nested lists or tables"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:_SHOWN]} is not a number that fits")
    return number


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice[:_SHOWN]}' occurs twice")
    return values


def _renamed(values: dict[str, Any], path: str, name: str) -> dict[str, Any]:
    """Return a table with an entry renamed, here or in the tables of a list."""
    head, _, rest = path.partition("[].")
    if head not in values:
        raise ValueError(f"missing entries: {head}")
    if not rest:
        if name in values:
            raise ValueError(f"unknown entries: {name}")
        return {name if key == head else key: value for key, value in values.items()}
    entries = values[head]
    if isinstance(entries, list):
        entries = [_renamed(_dict(e, f"{head}[{k}]"), rest, name) for k, e in enumerate(entries)]
    return {**values, head: entries}
