"""Which version of a JSON file this is. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def strip_schema(values: Mapping[str, Any], schema: int) -> dict[str, Any]:
    """Return the entries of a JSON file beside its schema.

    Args:
        values: All entries.
        schema: The version that is read.

    Raises:
        ValueError: If the file is of another version, or of none.
    """
    rest = dict(values)
    if (found := rest.pop("schema", None)) != schema:
        raise ValueError(f"schema {found}, this version reads {schema}")
    return rest
