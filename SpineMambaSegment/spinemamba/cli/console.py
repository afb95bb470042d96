"""What a person sees on the terminal: progress and tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType

from tqdm import tqdm

from spinemamba.flags import sentences
from spinemamba.progress import overall_fraction
from spinemamba.result import Result

STAGE_WORDS = {
    "read": "reading",
    "locate": "locating the spine",
    "segment": "segmenting",
    "instances": "separating vertebrae",
    "levels": "naming levels",
    "restore": "restoring the grid",
    "write": "writing",
}

LINE_STEP = 0.1
"""Share of the run after which a log gets another line though the stage is the same."""


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class ProgressBar:
    """A bar with the remaining time on a terminal; a line now and then elsewhere."""

    def __init__(self) -> None:
        self._said = ("", 0.0)
        self._bar = None
        if sys.stderr.isatty():
            shape = "{desc:<22} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}"
            self._bar = tqdm(total=1.0, bar_format=shape, file=sys.stderr)

    def __call__(self, stage: str, fraction: float) -> None:
        """Report progress."""
        done = overall_fraction(stage, fraction)
        if self._bar is not None:
            self._bar.set_description_str(STAGE_WORDS[stage], refresh=False)
            self._bar.update(max(0.0, done - self._bar.n))
        elif stage != self._said[0] or done >= self._said[1] + LINE_STEP:
            self._said = (stage, done)
            sys.stderr.write(f"{100 * done:3.0f}%  {STAGE_WORDS[stage]}\n")
            sys.stderr.flush()

    def warn(self, message: str) -> None:
        """Print a warning without breaking the bar."""
        tqdm.write(f"Warning: {message}", file=sys.stderr)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with columns as wide as their widest cell; numbers are right-aligned."""
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(_is_number(cell) for cell in column[1:]) for column in columns]

    def line(cells: Sequence[str]) -> str:
        parts = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(cells, widths, right, strict=True)
        )
        return "  ".join(parts).rstrip()

    return "\n".join([line(heads), line(["-" * w for w in widths]), *map(line, rows)])


def _is_number(cell: str) -> bool:
    return cell.replace(".", "").replace("%", "").replace("-", "").strip().isdigit() or cell == "-"


def vertebra_rows(result: Result) -> list[list[str]]:
    """Return a row for each vertebra: number, level, certainty, volume, whether whole, flags."""
    return [
        [
            str(item.id),
            item.name,
            f"{100 * item.posterior:.0f}%",
            f"{item.volume_ml:.1f}",
            "yes" if item.complete else "cut",
            sentences(item.flags),
        ]
        for item in result.instances
    ]


VERTEBRA_HEADS = ("#", "level", "certain", "mL", "whole", "look at")
