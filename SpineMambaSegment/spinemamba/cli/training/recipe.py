"""``spinemamba recipe NAME``: print all settings of a training as TOML."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spinemamba.cli.arguments import add_overwrite
from spinemamba.cli.console import print_line
from spinemamba.common.atomic_files import check_place, whole_or_nothing
from spinemamba.training.architectures import RECIPES, SPACING_MM


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("name", choices=RECIPES, help="which recipe")
    parser.add_argument(
        "--network",
        choices=sorted(SPACING_MM),
        default="fine",
        help="which of the two networks (%(default)s)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it into this file")
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Print or write the recipe; change it, and give it to ``train --recipe``."""
    from spinemamba.training.recipe import recipe_text
    from spinemamba.training.recipes import named_recipe

    text = recipe_text(*named_recipe(args.name, args.network))
    if args.out is None:
        sys.stdout.write(text)
        return 0
    check_place(args.out, overwrite=args.overwrite)
    with whole_or_nothing(args.out, overwrite=args.overwrite) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
    print_line(f"Wrote {args.out}")
    return 0
