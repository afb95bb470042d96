"""``spinemamba recipe NAME``: print all settings of a training as TOML."""

from __future__ import annotations

import argparse
import sys

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


def run(args: argparse.Namespace) -> int:
    """Print the recipe; redirect it to a file, change it, and give it to ``train --recipe``."""
    from spinemamba.training.recipe import recipe_text
    from spinemamba.training.recipes import named_recipe

    sys.stdout.write(recipe_text(*named_recipe(args.name, args.network)))
    return 0
