"""``spinemamba relabel RESULT LABELS OUTPUT --pin L5#7``: name again, without segmenting again."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from spinemamba.cli.console import VERTEBRA_HEADS, say, table, vertebra_rows
from spinemamba.cli.names import add_overwrite, add_pins, split_name
from spinemamba.errors import Code, UserError
from spinemamba.files import all_or_none, check_place
from spinemamba.image_io import read_volume
from spinemamba.output import check_output
from spinemamba.pins import match_pins, parse_pin
from spinemamba.relabel import relabel, rename_values
from spinemamba.result import Result, read_result
from spinemamba.run import segments_of
from spinemamba.segnrrd import write_labels
from spinemamba.volume import Volume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("result", type=Path, help="result.json of a run")
    parser.add_argument("labels", type=Path, help="label image of the same run")
    parser.add_argument("output", type=Path, help="new label image; its result.json goes beside it")
    add_pins(parser)
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Name the vertebrae again and say what changed."""
    before = read_result(args.result)
    pins = {**dict(before.pins), **match_pins(map(parse_pin, args.pin), before.instances)}
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
    labels = read_volume(args.labels)
    _check_same(labels, before)
    after = relabel(before, pins)
    renamed = labels.with_array(rename_values(labels.array, before, after))
    with all_or_none([args.output, new_json], overwrite=args.overwrite) as partial:
        write_labels(renamed, partial[args.output], segments_of(after))
        after.write(partial[new_json])
    say(table(VERTEBRA_HEADS, vertebra_rows(after)))
    for text in after.warnings:
        say(text)
    for path in (args.output, new_json):
        say(f"Wrote {path}")
    return 0


def _check_same(labels: Volume, result: Result) -> None:
    """Refuse labels of another run.

    Raises:
        UserError: If grid or values differ.
    """
    values = set(np.unique(labels.array).tolist()) - {0}
    expected = {item.label for item in result.instances}
    if labels.geometry.shape != result.shape or values != expected:
        raise UserError(
            "The labels are not those of this result.json.",
            "Give the two files that one run wrote.",
        )
