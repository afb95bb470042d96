"""A data set in words: layout, names of labels, cases, splits, problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from spinemamba.anatomy.labels import LABELS
from spinemamba.training.layouts.check import CaseReport, levels_text
from spinemamba.training.layouts.splits import Selection
from spinemamba.training.layouts.user_case import UserDataset

COLUMNS = ("case", "split", "image", "voxels", "mm", "levels", "remark")

_SHOWN = 12
"""Largest number of cases that a line names."""


def dataset_lines(dataset: UserDataset) -> list[str]:
    """Return the layout, the number of cases, and what becomes of each label."""
    patients = {case.subject for case in dataset.cases}
    lines = [f"{dataset.layout}: {len(dataset.cases)} cases of {len(patients)} patients"]
    lines += [f"  label {name} -> {meaning}" for name, meaning in dataset.translation]
    return [*lines, *dataset.notes]


def selection_lines(selection: Selection) -> list[str]:
    """Return which cases are trained on, validated on, and not used."""
    lines = [f"{len(selection.training)} cases to train on"]
    for cases, words in (
        (selection.validation, "to validate on"),
        (selection.unused, "of other splits, not used"),
    ):
        if cases:
            names = ", ".join(case.name for case in cases[:_SHOWN])
            more = f" and {len(cases) - _SHOWN} more" if len(cases) > _SHOWN else ""
            lines.append(f"{len(cases)} cases {words}: {names}{more}")
    return lines


def report_rows(reports: Sequence[CaseReport]) -> list[list[str]]:
    """Return a row of `COLUMNS` for each case."""
    return [
        [
            found.case.name,
            found.case.split or "-",
            found.case.modality.upper(),
            found.size or "-",
            found.spacing_mm or "-",
            levels_text(found.levels) or "none",
            _remark(found),
        ]
        for found in reports
    ]


def _remark(found: CaseReport) -> str:
    words = [f"{len(found.problems)} problems"] if found.problems else []
    words += [f"{len(found.warnings)} warnings"] if found.warnings else []
    return ", ".join(words) or ("no vertebra" if found.empty else "")


def level_line(reports: Sequence[CaseReport]) -> str:
    """Return how often each level is labelled."""
    counts = Counter(level for found in reports for level in found.levels)
    words = [f"{label.name} {counts[label.name]}" for label in LABELS if counts[label.name]]
    return f"Labelled vertebrae: {', '.join(words) or 'none'}"
