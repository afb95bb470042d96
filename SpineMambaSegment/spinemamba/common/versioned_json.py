"""Schema versions of JSON files. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def strip_schema(values: Mapping[str, Any], schema: int) -> dict[str, Any]:
    """Check the schema version of a JSON file, and return the other entries.

    Args:
        values: All entries.
        schema: Supported version.

    Raises:
        ValueError: If the version differs or is missing.
    """
    entries = dict(values)
    if (version := entries.pop("schema", None)) != schema:
        raise ValueError(f"schema {version}, this version reads {schema}")
    return entries
