"""``spinemamba triage OUT``: make the triage page of a cohort again."""

from __future__ import annotations

import argparse
from pathlib import Path

from spinemamba.cli.console import print_error, print_line
from spinemamba.cohort.triage.apply import whole_records
from spinemamba.cohort.triage.page import write_triage
from spinemamba.common.locks import wait_for_lock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path, help="output folder of a cohort")


def run(args: argparse.Namespace) -> int:
    """Write the page, and say why it has no viewer."""
    whole_records(args.out)
    with wait_for_lock(args.out):
        path, reason = write_triage(args.out, whole_records(args.out))
    if reason:
        print_error(f"The page has pictures only. {reason}")
    print_line(f"Wrote {path}")
    return 0
