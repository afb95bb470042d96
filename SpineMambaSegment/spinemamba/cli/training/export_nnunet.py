"""``spinemamba export-nnunet DATA OUT``: write a data set in nnU-Net's raw layout, with splits."""

from __future__ import annotations

import argparse
from pathlib import Path

from spinemamba.cli.arguments import whole_number
from spinemamba.cli.console import print_line
from spinemamba.cli.training.data_arguments import add_dataset_choice, data_recipe, select_cases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("data", type=Path, help="folder of a data set in any known layout")
    parser.add_argument("output", type=Path, help="nnUNet_raw, the folder of all data sets")
    parser.add_argument(
        "--id", type=whole_number(1, 999), default=501, help="number of the data set (%(default)s)"
    )
    parser.add_argument("--name", default="Spine", help="name of the data set (%(default)s)")
    parser.add_argument(
        "--folds", type=whole_number(2, 20), default=5, help="number of folds (%(default)s)"
    )
    add_dataset_choice(parser)


def run(args: argparse.Namespace) -> int:
    """Write images, labels, dataset.json and splits_final.json."""
    from spinemamba.common.errors import UserError
    from spinemamba.training.data.read_dataset import check_cases
    from spinemamba.training.layouts.listing import selection_lines
    from spinemamba.training.nnunet_export import NAME, export_nnunet
    from spinemamba.training.recipe import DataRecipe

    if not NAME.fullmatch(args.name):
        raise UserError(
            f"'{args.name}' is no name of a data set of nnU-Net.", "Use letters and digits only."
        )
    selection = select_cases(args.data, data_recipe(args, DataRecipe()), print_line)
    for line in selection_lines(selection):
        print_line(line)
    cases = (*selection.training, *selection.validation, *selection.unused)
    check_cases(cases, print_line)
    folder = args.output / f"Dataset{args.id:03d}_{args.name}"
    splits = export_nnunet(cases, folder, print_line, count=args.folds)
    print_line(f"Wrote {folder}")
    print_line(
        f"After nnUNetv2_plan_and_preprocess -d {args.id}, copy {splits.name} into "
        f"nnUNet_preprocessed/{folder.name}: then nnU-Net has the same folds as --fold."
    )
    return 0
