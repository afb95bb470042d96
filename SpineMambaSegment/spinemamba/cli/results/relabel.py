"""``spinemamba relabel RESULT LABELS OUTPUT --pin L5#7``: name again, without the networks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spinemamba.cli.arguments import add_levels_from, add_overwrite, add_pins, split_name
from spinemamba.cli.console import VERTEBRA_HEADS, print_line, result_rows, table
from spinemamba.common.errors import Code, UserError
from spinemamba.common.progress import ignore
from spinemamba.jobs.relabel import run_relabel
from spinemamba.protocol.job import RelabelJob

_MADE_FROM_LABELS = (
    *("_report.png", "_report.html", "_measurements.csv", "_measurements.json"),
    *("_parts.seg.nrrd", "_plan.json", "_review.json", ".dcm"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("result", type=Path, help="result.json of a run")
    parser.add_argument("labels", type=Path, help="label image of the same run")
    parser.add_argument("output", type=Path, help="new label image; its result.json goes beside it")
    add_pins(parser)
    add_levels_from(parser)
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Name the vertebrae again, write labels and result, and print the table."""
    new_json = args.output.with_name(f"{split_name(args.output)[0]}_result.json")
    for path in (args.output, new_json):
        if path.exists() and any(_same(path, old) for old in (args.result, args.labels)):
            raise UserError(
                f"{path} belongs to the run itself.",
                "Give the output another name.",
                Code.OUTPUT_BAD,
            )
    job = RelabelJob(
        args.labels,
        args.output,
        new_json,
        overwrite=args.overwrite,
        run=args.result,
        fixed_levels=tuple(args.pin),
        levels_from=args.levels_from,
    )
    stale = _made_from(args.output) if args.output.exists() else []
    after = run_relabel(job, ignore, _note)
    print_line(table(VERTEBRA_HEADS, result_rows(after)))
    for text in after.warnings:
        print_line(text)
    for path in job.outputs:
        print_line(f"Wrote {path}")
    for path in stale:
        print_line(f"Not renamed: {path} was made from the earlier labels")
    return 0


def _made_from(labels: Path) -> list[Path]:
    """Return files that commands of this package have made from a label image, by their names."""
    stem = split_name(labels)[0]
    places = (labels.with_name(f"{stem}{end}") for end in _MADE_FROM_LABELS)
    return [path for path in places if path.exists()]


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _same(path: Path, other: Path) -> bool:
    return other.exists() and path.samefile(other)
