"""``spinemamba apply-review OUT review.json``: apply the decisions of a triage."""

from __future__ import annotations

import argparse
from pathlib import Path

from spinemamba.cli.console import print_line
from spinemamba.cohort.overview import write_overview
from spinemamba.cohort.tables import PARQUET_TABLE
from spinemamba.cohort.triage.apply import Outcome, apply_review, whole_records
from spinemamba.common.exit_codes import ExitCode
from spinemamba.common.locks import wait_for_lock
from spinemamba.protocol.review import TRIAGE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path, help="output folder of a cohort")
    parser.add_argument("review", type=Path, help="review.json that the triage page has saved")


def run(args: argparse.Namespace) -> int:
    """Apply the decisions, print a line for each, and write tables and page again."""
    triage = TRIAGE.read(args.review)
    try:
        outcomes = apply_review(args.out, triage, _print)
    finally:
        # Also after Ctrl+C: the tables list what is applied.
        if whole_records(args.out):
            with wait_for_lock(args.out):
                parquet = (args.out / PARQUET_TABLE).exists()
                write_overview(args.out, whole_records(args.out), parquet=parquet)
    refused = sum(outcome.is_refused for outcome in outcomes)
    print_line(f"{len(outcomes)} decisions, {refused} refused")
    return ExitCode.USER_ERROR if refused else ExitCode.DONE


def _print(outcome: Outcome) -> None:
    print_line(f"{outcome.case}: {outcome.text}")
