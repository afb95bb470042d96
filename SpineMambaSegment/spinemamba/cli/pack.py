"""``spinemamba pack``: make a model of trainings."""

from __future__ import annotations

import argparse
from pathlib import Path

from spinemamba.cli.arguments import add_overwrite
from spinemamba.cli.console import print_line

_SOURCE = "folder of its training, or a model (name or folder) to copy this network from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("output", type=Path, help="folder of the model")
    parser.add_argument("--coarse", type=Path, required=True, help=_SOURCE)
    parser.add_argument("--fine", type=Path, required=True, help=_SOURCE)
    parser.add_argument("--levels", type=Path, help=f"{_SOURCE}; leave out for a model without it")
    parser.add_argument(
        "--checkpoint",
        choices=("last", "best"),
        default="last",
        help="averaged weights of the last step, or of the best validation (%(default)s)",
    )
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--version", default="1", help="version of the weights (%(default)s)")
    parser.add_argument(
        "--compact",
        nargs="+",
        default=[],
        choices=["coarse", "fine"],
        metavar="NETWORK",
        help="networks whose convolutions are stored in eight bits: half the size",
    )
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Write the averaged weights of the networks and the model card."""
    from spinemamba.training.pack_model import pack_model

    card = pack_model(
        args.coarse,
        args.fine,
        args.output,
        name=args.name,
        version=args.version,
        levels=args.levels,
        compact=args.compact,
        best=args.checkpoint == "best",
        overwrite=args.overwrite,
    )
    print_line(f"Wrote model {card.name} {card.version} ({card.licence}) to {args.output}")
    return 0
