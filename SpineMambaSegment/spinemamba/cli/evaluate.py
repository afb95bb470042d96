"""``spinemamba evaluate PREDICTED REFERENCE``."""

from __future__ import annotations

import argparse
from pathlib import Path

from spinemamba.cli.console import say, table
from spinemamba.evaluation.compare import compare
from spinemamba.image_io import read_volume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("predicted", type=Path, help="label image")
    parser.add_argument("reference", type=Path, help="label image on the same grid")


def run(args: argparse.Namespace) -> int:
    """Print the Dice of each vertebra and of all together."""
    score = compare(read_volume(args.predicted), read_volume(args.reference))
    rows = [[v.name, v.found_as or "missed", f"{v.dice:.3f}"] for v in score.vertebrae]
    say(table(("reference", "found as", "Dice"), rows))
    say(f"All vertebrae against background: Dice {score.bone_dice:.3f}")
    say(f"Mean over vertebrae: Dice {score.mean_dice:.3f}")
    say(f"Named right: {score.named_right} of {len(score.vertebrae)}")
    if score.beyond:
        say(f"Beyond the labelled part, not counted: {', '.join(score.beyond)}")
    return 0
