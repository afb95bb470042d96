"""``spinemamba pack``: from two trainings to a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from spinemamba.cli.console import say
from spinemamba.cli.names import add_overwrite

SOURCE = "folder of that training; or a model (name or folder) that keeps its own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("output", type=Path, help="folder of the model")
    parser.add_argument("--coarse", type=Path, required=True, help=SOURCE)
    parser.add_argument("--fine", type=Path, required=True, help=SOURCE)
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--version", default="1", help="version of the weights (%(default)s)")
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Pack the averaged weights of both networks with their card."""
    from spinemamba.training.pack_model import pack_model

    card = pack_model(
        args.coarse,
        args.fine,
        args.output,
        name=args.name,
        version=args.version,
        overwrite=args.overwrite,
    )
    say(f"Wrote model {card.name} {card.version} ({card.licence}) to {args.output}")
    return 0
