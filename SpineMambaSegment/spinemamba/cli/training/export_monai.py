"""``spinemamba export-monai MODEL OUT``: write a network of a model as a MONAI bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from spinemamba.cli.console import print_line
from spinemamba.training.architectures import SPACING_MM


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", help="name of a bundled model, or folder of a model")
    parser.add_argument("output", type=Path, help="folder of the bundle; it must not exist")
    parser.add_argument(
        "--network",
        choices=sorted(SPACING_MM),
        default="fine",
        help="a bundle holds one network (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Write configurations, weights, description and licence."""
    from spinemamba.protocol.model_card import find_model
    from spinemamba.training.monai_bundle import INFERENCE, export_bundle

    card = export_bundle(find_model(args.model), args.output, args.network)
    print_line(
        f"Wrote the {args.network} network of {card.name} {card.version} ({card.licence}) to "
        f"{args.output}"
    )
    print_line(
        f"Run it with: python -m monai.bundle run --config_file {args.output / INFERENCE} "
        f"--bundle_root {args.output} --dataset_dir IMAGES"
    )
    return 0
