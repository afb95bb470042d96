"""The part of JSON Schema that the files in ``Resources/Docs/schemas`` use."""

from __future__ import annotations

import re
from typing import Any

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
KNOWN = {
    *("$schema", "$defs", "$ref", "title", "description", "type", "const", "enum", "pattern"),
    *("anyOf", "minimum", "maximum", "properties", "required", "additionalProperties"),
    *("items", "prefixItems", "minItems", "maxItems"),
}


def problems(
    schema: dict[str, Any], value: Any, whole: dict[str, Any], path: str = ""
) -> list[str]:
    """Return why a value is not valid; empty if it is.

    Args:
        schema: Schema of the value.
        value: JSON value.
        whole: Schema of the file, with the definitions.
        path: Path of the value in the file.
    """
    assert set(schema) <= KNOWN, f"keywords that this check does not know: {set(schema) - KNOWN}"
    if "$ref" in schema:
        return problems(whole["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, whole, path)
    found = [f"{path}: {text}" for text in own_problems(schema, value)]
    if found:
        return found
    if "anyOf" in schema:
        tried = [problems(each, value, whole, path) for each in schema["anyOf"]]
        found += [] if [] in tried else [text for texts in tried for text in texts]
    if isinstance(value, dict):
        named, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        for name, entry in value.items():
            each = named.get(name, other)
            if each is False:
                found.append(f"{path}.{name}: unknown")
            elif each is not True:
                found += problems(each, entry, whole, f"{path}.{name}")
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        kinds = [*first, *[schema.get("items", {})] * (len(value) - len(first))]
        for index, (each, entry) in enumerate(zip(kinds, value, strict=False)):
            found += problems(each, entry, whole, f"{path}[{index}]")
    return found


def own_problems(schema: dict[str, Any], value: Any) -> list[str]:
    """Return what is wrong with a value itself, without what lies in it."""
    if "type" in schema:
        right = isinstance(value, TYPES[schema["type"]])
        if not right or (isinstance(value, bool) and schema["type"] != "boolean"):
            return [f"not of type {schema['type']}"]
    count = len(value) if isinstance(value, list | dict) else 0
    checks = {
        "const": lambda expected: value == expected,
        "enum": lambda choices: value in choices,
        "pattern": lambda pattern: re.search(pattern, value) is not None,
        "minimum": lambda least: value >= least,
        "maximum": lambda most: value <= most,
        "minItems": lambda least: count >= least,
        "maxItems": lambda most: count <= most,
        "required": lambda names: set(names) <= set(value),
    }
    return [name for name, valid in checks.items() if name in schema and not valid(schema[name])]
