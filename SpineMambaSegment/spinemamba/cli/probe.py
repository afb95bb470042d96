"""``spinemamba probe``: devices and versions of this computer as JSON."""

from __future__ import annotations

import argparse
import json

from spinemamba.cli.console import print_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print what `inference.probe` reports."""
    from spinemamba.inference.probe import probe

    print_line(json.dumps(probe(), indent=2))
    return 0
