"""Write measurements: all as JSON, and a CSV table with a row per value."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.protocol.measurements import KINDS, Item, Measurements
from spinemamba.protocol.quantities import of_kind

_COLUMNS = ("kind", "name", "view", "quantity", "value", "unit", "finding", "not_given_because")
_COLUMNS += ("how",)
_DIGITS = 3


def write_json(measured: Measurements, path: Path) -> None:
    """Write all measurements as JSON; `measurements.read_measurements` reads them.

    Raises:
        UserError: As `whole_or_nothing`.
    """
    text = json.dumps(measured.to_json(), indent=1, allow_nan=False) + "\n"
    with whole_or_nothing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_csv(measured: Measurements, path: Path) -> None:
    """Write a CSV row for every value, with unit, definition, and the reason if it is missing.

    Alerts are the first rows, with the kind "alert".

    Raises:
        UserError: As `whole_or_nothing`.
    """
    with whole_or_nothing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(_alert(text) for text in measured.alerts)
        for kind in KINDS:
            for item in measured.of(kind):
                writer.writerows(_rows(item))


def _alert(text: str) -> dict[str, str]:
    return {**dict.fromkeys(_COLUMNS, ""), "kind": "alert", "finding": text}


def _rows(item: Item) -> list[dict[str, str]]:
    finding = ", ".join(f"{key} {word}" for key, word in item.words.items())
    return [
        {
            "kind": item.kind,
            "name": item.name,
            "view": item.view,
            "quantity": quantity.key,
            "value": "" if (v := item.values.get(quantity.key)) is None else f"{v:.{_DIGITS}f}",
            "unit": quantity.unit,
            "finding": finding,
            "not_given_because": item.reasons.get(quantity.key, ""),
            "how": quantity.how,
        }
        for quantity in of_kind(item.kind)
    ]
