"""Names of files that go beside other files, and arguments that several commands take."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from spinemamba.image_io import FORMATS
from spinemamba.output import LABEL_FORMATS


def split_name(path: Path) -> tuple[str, str]:
    """Return a file's name without and with only its ending, such as ``.seg.nrrd``.

    Dots elsewhere belong to the name: patients' numbers have them.
    """
    lower = path.name.lower()
    ending = next((e for e in (*LABEL_FORMATS, *FORMATS) if lower.endswith(e)), path.suffix)
    stem = path.name[: len(path.name) - len(ending)]
    return stem, path.name[len(stem) :]


def whole_number(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    """Return the type of an argument that is a whole number in a range, bounds included."""

    def parse(text: str) -> int:
        value = int(text) if text.isdecimal() and len(text) < 20 else -1
        if not least <= value <= most:
            upper = "up" if most == 2**63 - 1 else f"to {most}"
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from {least} {upper}")
        return value

    return parse


def number_above_zero(text: str) -> float:
    """Return a finite number above zero.

    Raises:
        ArgumentTypeError: If it is anything else.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


seed = whole_number(0)
"""Type of a seed for phantoms and other chance."""

threads = whole_number(0, 1024)
"""Type of a number of threads; 0 leaves the choice to torch."""


def spacing_mm(text: str) -> float:
    """Return a voxel size for the phantom.

    Raises:
        ArgumentTypeError: If it is no number, or a phantom of it would not fit into memory or
            would show nothing.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.4 <= value <= 8:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of mm from 0.4 to 8")
    return value


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``, without which outputs that are there are refused before the work."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace outputs that exist already"
    )


def add_pins(parser: argparse.ArgumentParser) -> None:
    """Add ``--pin``, for levels that the user is sure of; `pins.parse_pin` reads them."""
    parser.add_argument(
        "--pin",
        action="append",
        default=[],
        metavar="LEVEL",
        help="L5@x,y,z: the vertebra at this place (LPS, mm) is L5; L5#7: the one in row 7 of the "
        "table; may be repeated",
    )
