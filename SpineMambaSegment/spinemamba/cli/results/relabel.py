"""``spinemamba relabel RESULT LABELS OUTPUT --pin L5#7``: name again, without the networks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spinemamba.anatomy.label_schemes import VERSE
from spinemamba.cli.arguments import add_levels_from, add_overwrite, add_pins, split_name
from spinemamba.cli.console import VERTEBRA_HEADS, print_line, result_rows, table
from spinemamba.common.atomic_files import all_or_none, check_place
from spinemamba.common.errors import Code, UserError
from spinemamba.editing.relabel import new_values, relabel, relabel_from
from spinemamba.imaging.write import check_output
from spinemamba.jobs.segment import segments_of
from spinemamba.labelmaps.other_scan import read_other_scan
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.labelmaps.same_run import check_same_run
from spinemamba.labelmaps.write_changes import write_renamed
from spinemamba.levels.pins import match_pins, parse_pin
from spinemamba.protocol.result import read_result


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
    before = read_result(args.result)
    pins = {**dict(before.fixed_levels), **match_pins(map(parse_pin, args.pin), before.instances)}
    new_json = args.output.with_name(f"{split_name(args.output)[0]}_result.json")
    for path in (args.output, new_json):
        if path.exists() and any(path.samefile(old) for old in (args.result, args.labels)):
            raise UserError(
                f"{path} belongs to the run itself.",
                "Give the output another name.",
                Code.OUTPUT_BAD,
            )
    check_output(args.output, overwrite=args.overwrite)
    check_place(new_json, overwrite=args.overwrite)
    spine = read_vertebra_labels(args.labels, VERSE)  # runs write VerSe's label values
    check_same_run(spine, before)
    for note in spine.notes:
        sys.stderr.write(f"{note}\n")
    if args.levels_from is None:
        after = relabel(before, pins)
    else:
        other = read_other_scan(args.levels_from)
        after = relabel_from(before, spine.volume, other, pins)
    new = new_values(before, after)
    with all_or_none([args.output, new_json], overwrite=args.overwrite) as partial:
        write_renamed(spine, new, segments_of(after), partial[args.output])
        after.write(partial[new_json])
    print_line(table(VERTEBRA_HEADS, result_rows(after)))
    for text in after.warnings:
        print_line(text)
    for path in (args.output, new_json):
        print_line(f"Wrote {path}")
    return 0
