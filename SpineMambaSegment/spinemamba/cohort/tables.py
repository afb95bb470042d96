"""Tables of a cohort, from the records of its cases. Standard library only, but for Parquet."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from spinemamba.common.atomic_files import all_or_none
from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.cohort import CASES, CaseRecord, CaseVertebra

CASES_TABLE, MEASUREMENTS_TABLE, FAILURES_TABLE = "cohort.csv", "measurements.csv", "failures.csv"
PARQUET_TABLE = "cohort.parquet"

Cell = str | int | float | bool | None

COLUMNS: tuple[tuple[str, type], ...] = (
    ("case", str),
    ("input", str),
    ("state", str),
    ("modality", str),
    ("vertebrae", int),
    ("names", str),
    ("certainties", str),
    ("doubt", float),
    ("ambiguous", bool),
    ("flags", str),
    ("volumes_ml", str),
    ("complete", str),
    ("missing", str),
    ("warnings", str),
    ("code", str),
    ("message", str),
    ("attempts", int),
    ("seconds", float),
    ("memory_mb", float),
    ("device", str),
    ("precision", str),
    ("scan_backend", str),
    ("model", str),
    ("model_version", str),
    ("model_hash", str),
    ("package_version", str),
    ("review", str),
    ("reviewer", str),
    ("note", str),
)
"""Columns of cohort.csv with their types. Lists within a cell are separated by spaces."""

_FAILURES = ("case", "input", "code", "message", "remedy", "attempts")
_WHOLE, _CUT = "whole", "cut"


def check_parquet() -> None:
    """Check that Parquet files can be written.

    Raises:
        UserError: If pyarrow is missing (DEPENDENCY_MISSING).
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            "Parquet files need the package pyarrow.",
            'Install it with pip install "spinemamba[parquet]", or leave out --parquet.',
            Code.DEPENDENCY_MISSING,
        )


def write_tables(out: Path, records: Sequence[CaseRecord], *, parquet: bool = False) -> list[Path]:
    """Write the tables of all cases, all or none; return their paths.

    Args:
        out: Output folder.
        records: Cases in the order of the rows.
        parquet: Whether to write `PARQUET_TABLE`, too.

    Raises:
        UserError: If a table cannot be written.
    """
    names = [CASES_TABLE, MEASUREMENTS_TABLE, FAILURES_TABLE]
    paths = [out / name for name in (*names, *([PARQUET_TABLE] if parquet else []))]
    rows = [case_row(record) for record in records]
    with all_or_none(paths) as partial:
        heads = [name for name, _ in COLUMNS]
        _write_csv(partial[paths[0]], heads, ([_text(v) for v in row.values()] for row in rows))
        _write_measurements(partial[paths[1]], out, records)
        _write_csv(partial[paths[2]], _FAILURES, map(_failure_row, failed(records)))
        if parquet:
            _write_parquet(partial[paths[3]], rows)
    return paths


def failed(records: Iterable[CaseRecord]) -> list[CaseRecord]:
    """Return the cases that failed."""
    return [record for record in records if record.failure is not None]


def case_row(record: CaseRecord) -> dict[str, Cell]:
    """Return the row of a case by column; None where a case that failed has no value."""
    row: dict[str, Cell] = {name: None for name, _ in COLUMNS}
    row |= {
        "case": record.case,
        "input": record.input,
        "state": record.state,
        "attempts": record.attempts,
        "missing": " ".join(record.missing),
        "warnings": " ".join(record.warnings),
    }
    if record.review is not None:
        review = record.review
        row |= {"review": review.status, "reviewer": review.reviewer, "note": review.note}
    if record.failure is not None:
        return row | {"code": record.failure.code, "message": record.failure.message}
    summary = record.summary
    found = summary.vertebrae
    return row | {
        "modality": summary.modality,
        "vertebrae": len(found),
        "names": " ".join(v.name for v in found),
        "certainties": " ".join(f"{v.posterior:.3f}" for v in found),
        "doubt": round(summary.doubt, 4),
        "ambiguous": summary.ambiguous,
        "flags": " ".join(_flags(found)),
        "volumes_ml": " ".join(f"{v.volume_ml:.2f}" for v in found),
        "complete": " ".join(_WHOLE if v.complete else _CUT for v in found),
        "seconds": record.seconds,
        "memory_mb": record.memory_mb,
        "device": summary.device,
        "precision": summary.precision,
        "scan_backend": summary.scan_backend,
        "model": summary.model_name,
        "model_version": summary.model_version,
        "model_hash": summary.model_hash,
        "package_version": summary.package_version,
    }


def _flags(vertebrae: Iterable[CaseVertebra]) -> Iterator[str]:
    """Yield the flags of all vertebrae, such as "L5:cut_by_image"."""
    for vertebra in vertebrae:
        for flag in vertebra.flags:
            yield f"{vertebra.name}:{flag.name}"


def _failure_row(record: CaseRecord) -> list[str]:
    failure = record.failure
    cells = (record.case, record.input, failure.code, failure.message, failure.remedy)
    return [*cells, str(record.attempts)]


def _text(value: Cell) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _write_csv(path: Path, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(heads)
        writer.writerows(rows)


def _write_measurements(path: Path, out: Path, records: Iterable[CaseRecord]) -> None:
    """Write the measurements of all cases, a row per value; empty if no case was measured.

    Cases that an older version measured may lack columns; their cells stay empty.
    """
    sources = [
        (record.case, out / CASES / record.case / table.name)
        for record in records
        if (table := record.files.get("measurements_table")) is not None
    ]
    # The definition of a quantity is the same in all rows of the quantity.
    heads = dict.fromkeys(
        name for _, source in sources for name in _csv_heads(source) if name != "how"
    )
    with path.open("w", encoding="utf-8", newline="") as file:
        if not sources:
            return
        writer = csv.DictWriter(file, ["case", *heads], restval="", extrasaction="ignore")
        writer.writeheader()
        for case, source in sources:
            with source.open(encoding="utf-8", newline="") as one:
                writer.writerows({"case": case, **row} for row in csv.DictReader(one))


def _csv_heads(path: Path) -> Sequence[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return csv.DictReader(file).fieldnames or ()


def _write_parquet(path: Path, rows: Sequence[dict[str, Cell]]) -> None:
    import pyarrow
    import pyarrow.parquet

    types = {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
    }
    schema = pyarrow.schema([(name, types[kind]) for name, kind in COLUMNS])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema), path)
