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
