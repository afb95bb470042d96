"""Numbers on the command line, checked before any work. Standard library only."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from ``least`` to ``most``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"'{text}' is not a whole number from {least} to {most}"
            )
        return value

    return read


def above_zero(most: float, unit: str = "") -> Callable[[str], float]:
    """Return a reader of numbers above zero, at most ``most``; NaN is none of them."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(
                f"'{text}' is not a number{unit} above 0, at most {most:g}"
            )
        return value

    return read


seed = whole(0, 2**62)
"""Type of a seed for phantoms and other chance."""

threads = whole(0, 1024)
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
