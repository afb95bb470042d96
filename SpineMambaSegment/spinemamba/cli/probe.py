"""``spinemamba probe``: what this computer can do, as JSON."""

from __future__ import annotations

import argparse
import json

from spinemamba.cli.console import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the facts."""
    from spinemamba.inference.probe import probe

    say(json.dumps(probe(), indent=2))
    return 0
