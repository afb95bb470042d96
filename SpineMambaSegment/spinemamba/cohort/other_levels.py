"""Earlier results from which the levels of cases are taken. Standard library only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spinemamba.cohort.found import FoundCase, Listing
from spinemamba.common.errors import UserError
from spinemamba.protocol.cohort import CASES
from spinemamba.protocol.image_formats import LABEL_FORMATS
from spinemamba.protocol.result import RESULT_END


def with_levels_from(listing: Listing, folder: Path) -> Listing:
    """Return the cases with the results of the same names in a folder; a table has priority.

    Args:
        listing: The cases.
        folder: Output folder of an earlier cohort; or a folder with a folder, a result.json or a
            label image for each case, which are named after the case.

    Raises:
        UserError: If the folder has no result for any case.
    """
    cases = tuple(
        replace(case, levels_from=case.levels_from or _result_of(case, folder))
        for case in listing.cases
    )
    if not any(case.levels_from for case in cases):
        first = listing.cases[0].name
        raise UserError(
            f"{folder.name} has no result for any of the cases.",
            f"Give a folder with names such as {CASES}/{first}, {first}{RESULT_END} or "
            f"{first}{LABEL_FORMATS[0]}, or a table with the column levels_from.",
        )
    return replace(listing, cases=cases)


def _result_of(case: FoundCase, folder: Path) -> Path | None:
    """Return the result of a case; None if there is none."""
    endings = (RESULT_END, *LABEL_FORMATS)
    folders = (folder / CASES / case.name, folder / case.name)
    files = [folder / f"{case.name}{ending}" for ending in endings]
    found = [path for path in folders if path.is_dir() and files_with_levels(path)]
    return next(iter([*found, *filter(Path.is_file, files)]), None)


def files_with_levels(path: Path) -> list[Path]:
    """Return the files that decide the levels of another scan: label images and results.

    Args:
        path: As in `job.SegmentJob.levels_from`.
    """
    endings = (RESULT_END, *LABEL_FORMATS)
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.name.endswith(endings))
    stem = next((path.name.removesuffix(e) for e in endings if path.name.endswith(e)), path.name)
    beside = [path.with_name(stem + ending) for ending in endings]
    return sorted({path, *filter(Path.is_file, beside)})
