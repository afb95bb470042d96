"""JSON Schema files of all formats, from the dataclasses and their docstrings."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from spinemamba.common.json_schema import JsonFormat, Limits, may_miss, type_hints
from spinemamba.measure.calibration import CALIBRATION
from spinemamba.measure.follow_up.record import FOLLOW_UP
from spinemamba.network.config import NETWORK_CONFIG
from spinemamba.network.level_sequence import LEVEL_NETWORK_CONFIG
from spinemamba.protocol.cohort import RECORD
from spinemamba.protocol.events import EVENT
from spinemamba.protocol.job import JOB
from spinemamba.protocol.manifest import MANIFEST
from spinemamba.protocol.measurements import MEASUREMENTS
from spinemamba.protocol.model_card import MODEL_CARD
from spinemamba.protocol.planning.plan import PLAN
from spinemamba.protocol.planning.screws import SCREWS
from spinemamba.protocol.remote.formats import CAPABILITY, JOB_STATE, REFUSED, REQUEST
from spinemamba.protocol.result import RESULT
from spinemamba.protocol.review import REVIEW, TRIAGE
from spinemamba.protocol.vertebra_result import VERTEBRA_RESULT
from spinemamba.server.tokens import TOKENS
from spinemamba.training.data.case_store import CASE_INDEX
from spinemamba.training.data.data_list import DATA_LIST
from spinemamba.training.folder import TRAINING_RECORD
from spinemamba.training.levels.folder import LEVEL_TRAINING_RECORD
from spinemamba.training.recipe import RECIPE

DIALECT = "https://json-schema.org/draft/2020-12/schema"

FORMATS: Mapping[str, JsonFormat] = {
    "case_index": CASE_INDEX,
    "case": RECORD,
    "data_list": DATA_LIST,
    "event": EVENT,
    "job": JOB,
    "level_network": LEVEL_NETWORK_CONFIG,
    "level_training": LEVEL_TRAINING_RECORD,
    "manifest": MANIFEST,
    "calibration": CALIBRATION,
    "follow_up": FOLLOW_UP,
    "measurements": MEASUREMENTS,
    "model": MODEL_CARD,
    "network": NETWORK_CONFIG,
    "plan": PLAN,
    "recipe": RECIPE,
    "result": RESULT,
    "review": REVIEW,
    "server_capabilities": CAPABILITY,
    "server_job": JOB_STATE,
    "server_refusal": REFUSED,
    "server_request": REQUEST,
    "server_tokens": TOKENS,
    "screws": SCREWS,
    "training": TRAINING_RECORD,
    "triage": TRIAGE,
    "vertebra_result": VERTEBRA_RESULT,
}
"""Every format, by the name of its file of JSON Schema."""

_PLAIN = {str: "string", Path: "string", int: "integer", float: "number", bool: "boolean"}
_ENTRY = re.compile(r"^(\w+): (.*?)(?=^\w+: |\Z)", re.DOTALL | re.MULTILINE)


def schema_text(form: JsonFormat) -> str:
    """Return the content of the schema file of a format."""
    return json.dumps(schema_of(form), indent=1) + "\n"


def schema_of(form: JsonFormat) -> dict[str, Any]:
    """Return the JSON Schema of the current version of a format."""
    definitions: dict[str, Any] = {}
    writer = _Writer(form, definitions)
    if isinstance(form.kind, type):
        body = writer.table(form.kind)
    else:
        for name, kind in form.kind.items():
            definitions[kind.__name__] = writer.table(kind, {form.tag: {"const": name}})
        body = {"anyOf": [_reference(kind) for kind in form.kind.values()]}
    schema = {"$schema": DIALECT, "title": form.noun} | body
    return schema | ({"$defs": definitions} if definitions else {})


class _Writer:
    """Writes the tables of one format, and collects those that lie inside others."""

    def __init__(self, form: JsonFormat, definitions: dict[str, Any]):
        self._form = form
        self._definitions = definitions

    def table(self, kind: type, head: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the schema of a dataclass, with entries that stand for the whole file."""
        head = dict(head or {})
        top = kind is self._form.kind or bool(head)
        if top and self._form.version is not None:
            head = {"schema": {"const": self._form.version}} | head
        texts = _attributes(kind)
        properties = {
            name: self.value(hint) | ({"description": texts[name]} if name in texts else {})
            for name, hint in type_hints(kind).items()
        }
        defaults = self._form.defaults
        required = [f.name for f in fields(kind) if not may_miss(f, defaults=defaults)]
        return {
            "type": "object",
            "description": inspect.getdoc(kind).split("\n\n")[0].replace("\n", " "),
            "properties": head | properties,
            "required": [*head, *required],
            "additionalProperties": self._form.ignores_unknown,
        }

    def value(self, hint: Any) -> dict[str, Any]:
        """Return the schema of a type."""
        origin, arguments = get_origin(hint), get_args(hint)
        if hint is Any:
            return {}
        if origin is Annotated:
            return _limited(self.value(arguments[0]), arguments[1])
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in (Union, UnionType):
            (kind,) = (argument for argument in arguments if argument is not NoneType)
            return {"anyOf": [self.value(kind), {"type": "null"}]}
        if origin is tuple:
            return self._items(arguments)
        if origin in (dict, Mapping):
            return {"type": "object", "additionalProperties": self.value(arguments[1])}
        if is_dataclass(hint):
            if hint.__name__ not in self._definitions:
                self._definitions[hint.__name__] = self.table(hint)
            return _reference(hint)
        return {"type": _PLAIN[hint]}

    def _items(self, kinds: tuple[Any, ...]) -> dict[str, Any]:
        if kinds[-1] is Ellipsis:
            return {"type": "array", "items": self.value(kinds[0])}
        count = {"minItems": len(kinds), "maxItems": len(kinds)}
        return {"type": "array", "prefixItems": [self.value(kind) for kind in kinds]} | count


def _reference(kind: type) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _limited(schema: dict[str, Any], limits: Limits) -> dict[str, Any]:
    texts = []
    if limits.choices:
        texts.append({"enum": list(limits.choices)})
    if limits.pattern:
        texts.append({"pattern": f"^(?:{limits.pattern})$"})
    numbers = {"minimum": limits.minimum, "maximum": limits.maximum}
    schema = schema | {name: number for name, number in numbers.items() if number is not None}
    return schema | ({"anyOf": texts} if len(texts) > 1 else texts[0] if texts else {})


def _attributes(kind: type) -> dict[str, str]:
    """Return the text of each attribute in the docstrings of a class and its bases."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        section = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        lines = inspect.cleandoc("\n" + section.partition("\n\n")[0])
        for name, text in _ENTRY.findall(lines):
            texts[name] = re.sub(r"\bNone\b", "null", " ".join(text.split()))
    return texts
