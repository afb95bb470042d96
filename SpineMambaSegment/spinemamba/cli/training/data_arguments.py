"""Arguments of the commands that train: cases, splits, and what they change in a recipe."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spinemamba.cli.arguments import whole_number
from spinemamba.common.errors import UserError

if TYPE_CHECKING:
    from spinemamba.training.data.data_list import DataList
    from spinemamba.training.data.gather import DataOptions
    from spinemamba.training.layouts.splits import Selection
    from spinemamba.training.layouts.user_case import UserCase
    from spinemamba.training.recipe import DataRecipe

Report = Callable[[str], None]


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the folder of a training and of its cases."""
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument(
        "--data-list", type=Path, metavar="FILE", help="JSON file that lists cases and licences"
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="folder of the files of --data-list (default: that of the list)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="your cases, in the layout of VerSe, nnU-Net, TotalSegmentator, SPIDER or CTSpine1K",
    )
    parser.add_argument(
        "--centres",
        type=Path,
        metavar="DIR",
        help="MR volumes with the levels and centres of their bodies: NAME.nii.gz and "
        "NAME_centres.json or .csv",
    )
    parser.add_argument(
        "--source",
        metavar="TEXT",
        help="title, licence and credit of the cases of --data, for the model card",
    )
    parser.add_argument(
        "--prepared",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of cases that 'spinemamba prepare' has made",
    )
    _add_choice(parser)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Add which cases are used, and the number of synthetic ones."""
    parser.add_argument(
        "--leave-out", nargs="+", metavar="CASE", help="cases to exclude, for testing"
    )
    parser.add_argument(
        "--phantoms", type=whole_number(0, 100_000), help="synthetic spines (default 12)"
    )
    add_dataset_choice(parser)


def add_dataset_choice(parser: argparse.ArgumentParser) -> None:
    """Add which labels of a data set are ignored, and which cases are trained and validated on."""
    parser.add_argument(
        "--ignore",
        action="append",
        metavar="NAME",
        help="label of the data set that is no vertebra and becomes background; may be repeated",
    )
    parser.add_argument(
        "--fold",
        type=_fold,
        metavar="K/N",
        help="validate on fold K of N, from 0/5 to 4/5; patients are not divided",
    )
    parser.add_argument("--validate", nargs="+", metavar="CASE", help="validate on these cases")
    parser.add_argument(
        "--train-on",
        nargs="+",
        choices=("training", "validation", "test"),
        help="official splits to train on (default: training)",
    )


def _fold(text: str) -> str:
    """Return the text of a fold such as ``0/5``, checked."""
    from spinemamba.training.layouts.splits import parse_fold

    try:
        return str(parse_fold(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def data_recipe(args: argparse.Namespace, base: DataRecipe) -> DataRecipe:
    """Return the cases of a recipe, with what the arguments change.

    Raises:
        UserError: If both a fold and names choose the validation cases.
    """
    given: dict[str, Any] = {
        "phantoms": getattr(args, "phantoms", None),
        "train_on": args.train_on,
        "ignore": args.ignore,
        "leave_out": getattr(args, "leave_out", None),
        "validate": args.validate,
        "fold": args.fold,
        "source": getattr(args, "source", None),
    }
    changes = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }
    if args.fold and args.validate:
        raise UserError(
            f"--fold {args.fold} and --validate both choose the validation cases.",
            "Give one of them.",
        )
    changes |= {"validate": ()} if args.fold else {}
    changes |= {"fold": ""} if args.validate else {}
    return replace(base, **changes)


def select_cases(folder: Path, data: DataRecipe, report: Report) -> Selection:
    """Find the cases of a folder, list names and splits, and divide the cases.

    Raises:
        UserError: As `find_dataset` and `select`.
    """
    from spinemamba.training.layouts.find import find_dataset
    from spinemamba.training.layouts.listing import dataset_lines
    from spinemamba.training.layouts.splits import parse_fold, select

    dataset = find_dataset(folder, data.ignore)
    for line in dataset_lines(dataset):
        report(line)
    return select(
        dataset,
        report,
        fold=parse_fold(data.fold) if data.fold else None,
        validate=data.validate,
        train_on=data.train_on,
    )


def choose_data(
    args: argparse.Namespace, data: DataRecipe, seed: int, report: Report, place: tuple[str, int]
) -> tuple[DataOptions, tuple[UserCase, ...]]:
    """Return the sources of the training cases, and the cases to validate on.

    Args:
        args: Arguments of `add_data_arguments`.
        data: Cases of the recipe.
        seed: Seed of the first phantom.
        report: Receives messages.
        place: The network, "coarse", "fine" or "levels", and the number of processes.

    Raises:
        UserError: If the folder of a data list is given without a list, a name does not occur, or
            a data set cannot be used (INPUT_BAD).
    """
    from spinemamba.training.data.gather import DataOptions

    listed = _data_list(args)
    validation = [] if listed is None else _listed(listed, data)
    trained = [] if listed is None else [case.name for case in listed.training]
    leave_out = (*data.leave_out, *(c.name for c in validation if c.name in trained))
    names = {case.name for case in validation}
    rest = replace(data, validate=tuple(name for name in data.validate if name not in names))
    own, unused = _own(args, rest, report)
    options = DataOptions(
        folder=args.out,
        listed=listed,
        user=args.data,
        ignore=data.ignore,
        unused=unused,
        leave_out=leave_out,
        phantoms=data.phantoms,
        seed=seed,
        prepared=tuple(path / place[0] for path in args.prepared),
        workers=max(1, place[1]),
        centres=getattr(args, "centres", None),
        shares=data.shares,
    )
    return options, (*validation, *own)


def _data_list(args: argparse.Namespace) -> DataList | None:
    from spinemamba.training.data.data_list import read_data_list

    if args.data_root is not None and args.data_list is None:
        raise UserError(
            f"--data-root {args.data_root} is the folder of a data list, but there is no list.",
            "Add --data-list FILE, or leave out --data-root.",
        )
    return None if args.data_list is None else read_data_list(args.data_list, args.data_root)


def _own(
    args: argparse.Namespace, data: DataRecipe, report: Report
) -> tuple[tuple[UserCase, ...], frozenset[str]]:
    """Return the user's cases to validate on, and the names of those that are not trained on."""
    from spinemamba.training.layouts.listing import selection_lines

    if args.data is None:
        if data.validate or data.fold:
            raise UserError(
                f"There is no case {', '.join(data.validate) or 'to divide into folds'} to "
                "validate on.",
                "Give --data, or cases of --data-list that have an image and labels.",
            )
        return (), frozenset()
    selection = select_cases(args.data, data, report)
    for line in selection_lines(selection):
        report(line)
    kept = (*selection.validation, *selection.unused)
    return selection.validation, frozenset(case.name for case in kept)


def _listed(listed: DataList, data: DataRecipe) -> list[UserCase]:
    """Return the cases of a data list that are validated on."""
    from spinemamba.anatomy.labels import BY_VALUE
    from spinemamba.training.layouts.user_case import UserCase

    values = {0: 0} | {value: value for value in BY_VALUE}
    return [
        UserCase(
            case.name,
            listed.root / case.image,
            listed.root / case.label,
            values,
            modality="mr" if case.modality == "MR" else "ct",
        )
        for case in (*listed.training, *listed.testing)
        if case.name in data.validate and case.image and case.label
    ]
