"""``spinemamba check-data FOLDER``: read, check and list a data set before a training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from spinemamba.cli.console import print_line, table
from spinemamba.cli.training.data_arguments import add_dataset_choice, data_recipe, select_cases
from spinemamba.common.exit_codes import ExitCode

if TYPE_CHECKING:
    from spinemamba.training.layouts.check import CaseReport
    from spinemamba.training.layouts.user_case import UserCase


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("data", type=Path, help="folder of the data set")
    add_dataset_choice(parser)
    parser.add_argument(
        "--names-only",
        action="store_true",
        help="list the files and the names of labels; open no image",
    )


def run(args: argparse.Namespace) -> int:
    """List a data set; return 2 if a case cannot be used."""
    from spinemamba.training.layouts.check import CaseReport
    from spinemamba.training.layouts.listing import (
        COLUMNS,
        level_line,
        report_rows,
        selection_lines,
    )
    from spinemamba.training.layouts.same_images import with_same_images
    from spinemamba.training.recipe import DataRecipe

    selection = select_cases(args.data, data_recipe(args, DataRecipe()), print_line)
    cases = (*selection.training, *selection.validation, *selection.unused)
    reports = [CaseReport(case) for case in cases] if args.names_only else _checked(cases)
    reports = with_same_images(reports, selection)
    print_line(table(COLUMNS, report_rows(reports)))
    for line in selection_lines(selection):
        print_line(line)
    if args.names_only:
        return ExitCode.DONE
    print_line(level_line(reports))
    for found in reports:
        for text in found.warnings:
            print_line(f"warning: {found.case.name}: {text}")
        for text in found.problems:
            sys.stderr.write(f"{found.case.name}: {text}\n")
    return ExitCode.USER_ERROR if any(found.problems for found in reports) else ExitCode.DONE


def _checked(cases: Sequence[UserCase]) -> list[CaseReport]:
    """Check the cases, with a progress bar on a terminal."""
    from spinemamba.training.layouts.check import check_case

    hidden = not sys.stderr.isatty()
    return [check_case(case) for case in tqdm(cases, unit="case", disable=hidden)]
