"""The four files of an evaluation: two tables, JSON and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spinemamba.common.atomic_files import all_or_none
from spinemamba.evaluation.cohort import Outcome, Summary
from spinemamba.evaluation.files import write_cases, write_json, write_vertebrae

FILES = ("vertebrae.csv", "cases.csv", "evaluation.json", "evaluation.html")


def evaluation_files(folder: Path) -> list[Path]:
    """Return the paths of the files in a folder."""
    return [folder / name for name in FILES]


def write_evaluation(
    outcomes: Sequence[Outcome], summary: Summary, folder: Path, *, overwrite: bool
) -> list[Path]:
    """Write all files or none, and return their paths.

    Raises:
        UserError: If the files cannot be written, or exist and must not be replaced (OUTPUT_BAD,
            DISK_FULL).
    """
    from spinemamba.report.evaluation_page import write_page  # loads matplotlib

    outputs = evaluation_files(folder)
    vertebrae, cases, numbers, page = outputs
    with all_or_none(outputs, overwrite=overwrite) as partial:
        write_vertebrae(outcomes, partial[vertebrae])
        write_cases(outcomes, partial[cases])
        write_json(outcomes, summary, partial[numbers])
        write_page(outcomes, summary, partial[page])
    return outputs
