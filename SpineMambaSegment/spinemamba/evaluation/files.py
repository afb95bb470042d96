"""Write an evaluation: CSV tables of vertebrae and of cases, and JSON with all values."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spinemamba import __version__
from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.evaluation.cohort import Outcome, Summary
from spinemamba.evaluation.measures import MEASURES
from spinemamba.evaluation.scores import Comparison, VertebraScore

_SCHEMA = 1
"""Increased when a field of the JSON file changes its meaning or is removed."""

_DIGITS = 4

_COUNTS = ("named_right", "identified", "missed", "detected", "counted")
"""Attributes of `Comparison` that are numbers of vertebrae."""


def write_vertebrae(outcomes: Iterable[Outcome], path: Path) -> None:
    """Write a CSV row for each vertebra of the reference, and each extra or beyond vertebra.

    The column ``state`` is right, misnamed, missed, extra or beyond. Undefined values are empty.

    Raises:
        UserError: As `whole_or_nothing`.
    """
    rows = [
        {"case": outcome.case.name} | row
        for outcome in outcomes
        if outcome.score is not None
        for row in _vertebra_rows(outcome.score)
    ]
    _write_csv(rows, ("case", "level", "state"), path)


def write_cases(outcomes: Iterable[Outcome], path: Path) -> None:
    """Write a CSV row for each case; after an error, only the error is given.

    Raises:
        UserError: As `whole_or_nothing`.
    """
    rows = [
        {"case": outcome.case.name, "error": outcome.error}
        | (_case_row(outcome.score) if outcome.score is not None else {})
        for outcome in outcomes
    ]
    _write_csv(rows, ("case", "error"), path)


def write_json(outcomes: Sequence[Outcome], summary: Summary, path: Path) -> None:
    """Write all values as JSON, with the definitions of the measures; undefined values are null.

    Raises:
        UserError: As `whole_or_nothing`.
    """
    content = {
        "schema": _SCHEMA,
        "package_version": __version__,
        "meanings": {m.key: m.meaning for m in MEASURES},
        "summary": _summary_fields(summary),
        "cases": [_case_fields(outcome) for outcome in outcomes],
    }
    text = json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n"
    with whole_or_nothing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _vertebra_rows(score: Comparison) -> list[dict[str, Any]]:
    """Return the fields of each vertebra of a case, top to bottom, then of extra and beyond."""
    rows = [_vertebra_fields(vertebra) for vertebra in score.vertebrae]
    for state, names in (("extra", score.extra), ("beyond", score.beyond)):
        rows += [{"level": name, "state": state} for name in names]
    return rows


def state(vertebra: VertebraScore) -> str:
    """Return "right", "misnamed" or "missed" for a vertebra of the reference."""
    if vertebra.found_as is None:
        return "missed"
    return "right" if vertebra.found_as == vertebra.name else "misnamed"


def _case_row(score: Comparison) -> dict[str, Any]:
    """Return the fields of a case."""
    counts = {name: getattr(score, name) for name in _COUNTS}
    return {
        "vertebrae": len(score.vertebrae),
        **counts,
        "all_right": score.all_right,
        **{m.key: m.of(score) for m in MEASURES},
        "extra": " ".join(score.extra),
        "beyond": " ".join(score.beyond),
        "note": score.note,
    }


def _summary_fields(summary: Summary) -> dict[str, Any]:
    """Return the fields of the summary."""
    right, counted = summary.all_right
    return {
        "cases": len(summary.scores),
        "failed": summary.failed,
        "vertebrae": summary.vertebrae,
        **{name: summary.total(name) for name in _COUNTS},
        "all_right": right,
        "all_right_of": counted,
        "all_right_interval_95": list(summary.all_right_interval),
        "f1_pooled": summary.f1,
        "pq_pooled": summary.pq,
        "measures": {key: asdict(spread) for key, spread in summary.measures.items()},
        "confusions": [
            {"level": true, "found_as": found, "count": count}
            for true, found, count in summary.confusions
        ],
    }


def _vertebra_fields(vertebra: VertebraScore) -> dict[str, Any]:
    return {
        "level": vertebra.name,
        "state": state(vertebra),
        "found_as": vertebra.found_as,
        "cut": vertebra.cut,
        "volume_ml": vertebra.volume_ml,
        "iou": vertebra.iou,
        "dice_matched": vertebra.dice,
        "hd95_matched_mm": vertebra.surface.hd95_mm,
        "assd_matched_mm": vertebra.surface.assd_mm,
        "dice_named": vertebra.named_dice,
        "hd95_named_mm": vertebra.named_surface.hd95_mm,
        "assd_named_mm": vertebra.named_surface.assd_mm,
        "localisation_mm": vertebra.centre_mm,
        "identified": vertebra.identified,
    }


def _case_fields(outcome: Outcome) -> dict[str, Any]:
    paths = {"predicted": outcome.case.predicted, "reference": outcome.case.reference}
    # File names only, because a path may identify the patient or the user.
    fields = {"case": outcome.case.name} | {k: p.name if p else None for k, p in paths.items()}
    if outcome.score is None:
        return fields | {"error": outcome.error}
    lists = {"extra": list(outcome.score.extra), "beyond": list(outcome.score.beyond)}
    vertebrae = [_vertebra_fields(vertebra) for vertebra in outcome.score.vertebrae]
    return fields | _case_row(outcome.score) | lists | {"levels": vertebrae}


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_without_nan(value) for value in content]
    if isinstance(content, float):
        return round(content, _DIGITS) if math.isfinite(content) else None
    return content


def _write_csv(rows: list[dict[str, Any]], heads: Sequence[str], path: Path) -> None:
    """Write rows; the columns are the given ones, and those of the row with the most fields."""
    fullest = max(rows, key=len, default={})
    columns = list(dict.fromkeys([*heads, *fullest]))
    with (
        whole_or_nothing(path) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{_DIGITS}f}" if math.isfinite(value) else ""
    return str(value)
