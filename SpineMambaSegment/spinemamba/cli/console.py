"""Terminal output: robust standard streams, messages, progress and tables."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

from spinemamba.common.progress import FETCH, SEND, WAIT, overall_fraction
from spinemamba.protocol.flags import sentences
from spinemamba.protocol.result import Result

_STAGE_WORDS = {
    "read": "reading",
    "locate": "locating the spine",
    "segment": "segmenting",
    "instances": "separating vertebrae",
    "levels": "naming levels",
    "restore": "restoring the grid",
    "write": "writing",
    SEND: "sending to the server",
    WAIT: "waiting in line",
    FETCH: "fetching the result",
}

_LINE_STEP = 0.1
"""Share of the run after which a log file gets another line within one stage."""


_STANDARD_HANDLES = (0, 1, 2)


class Stream(io.TextIOBase):
    """A standard stream that never raises: text that cannot be written is dropped.

    Args:
        inner: The real stream; None if the process has none, as under ``pythonw``.

    Attributes:
        failure: Error of the first failed write, after which nothing is written; or None.
    """

    def __init__(self, inner: TextIO | None):
        super().__init__()
        self._inner = inner
        self.failure: OSError | ValueError | None = None

    @property
    def encoding(self) -> str:
        """Encoding of the real stream."""
        return getattr(self._inner, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write text; characters outside the encoding are written as backslash escapes."""
        self._try(lambda inner: _write(inner, text, self.encoding))
        return len(text)

    def flush(self) -> None:
        """Flush the real stream."""
        self._try(lambda inner: inner.flush())

    def writable(self) -> bool:
        """Return True, also if writing fails: errors are recorded in ``failure``."""
        return True

    def isatty(self) -> bool:
        """Return whether the real stream is a terminal."""
        return is_terminal(self._inner)

    def fileno(self) -> int:
        """Return the file descriptor of the real stream."""
        if self._inner is None:
            raise io.UnsupportedOperation("fileno")
        return self._inner.fileno()

    def release(self) -> None:
        """Flush; after a failure, redirect to the null device, so that exit does not fail again."""
        self.flush()
        if self.failure is not None:
            # A replacement of sys.stdout may have no file descriptor.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                handle = self._inner.fileno()
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, handle)
                os.close(null)

    def _try(self, action: Callable[[TextIO], object]) -> None:
        if self._inner is None or self.failure is not None:
            return
        try:
            action(self._inner)
        # Python raises ValueError for a closed stream.
        except (OSError, ValueError) as error:
            self.failure = error


def _write(stream: TextIO, text: str, encoding: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


@contextmanager
def safe_streams() -> Iterator[Stream]:
    """Replace the standard streams, so that closed, full or missing ones raise no errors.

    Yields:
        The replacement of stdout.
    """
    for handle in _STANDARD_HANDLES:
        try:
            os.fstat(handle)
        except OSError:
            # Otherwise the next opened file gets this descriptor, and the output of C libraries
            # is written into it. os.open returns the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdin, sys.stdout, sys.stderr
    out, errors = Stream(sys.stdout), Stream(sys.stderr)
    sys.stdin, sys.stdout, sys.stderr = sys.stdin or io.StringIO(), out, errors
    try:
        yield out
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        out.release()
        errors.release()


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is an interactive terminal."""
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):  # closed
        return False


def print_line(text: str) -> None:
    """Print a line to stdout and flush."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_error(text: str) -> None:
    """Print a line to stderr and flush."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class ProgressBar:
    """Progress on stderr: a bar with the remaining time on a terminal, otherwise a few lines."""

    def __init__(self) -> None:
        self._last_line = ("", 0.0)
        self._bar = None
        if is_terminal(sys.stderr):
            shape = "{desc:<22} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}"
            self._bar = tqdm(total=1.0, bar_format=shape, file=sys.stderr)

    def __call__(self, stage: str, fraction: float) -> None:
        """Report progress."""
        self.show(stage, overall_fraction(stage, fraction))

    def show(self, stage: str, done: float) -> None:
        """Show a stage, and the completed share of the whole run."""
        if self._bar is not None:
            self._bar.set_description_str(_STAGE_WORDS[stage], refresh=False)
            self._bar.update(max(0.0, done - self._bar.n))
        elif stage != self._last_line[0] or done >= self._last_line[1] + _LINE_STEP:
            self._last_line = (stage, done)
            print_error(f"{100 * done:3.0f}%  {_STAGE_WORDS[stage]}")

    def warn(self, message: str) -> None:
        """Print a warning without breaking the bar."""
        self.say(f"Warning: {message}")

    def say(self, message: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is None:
            print_error(message)
        else:
            tqdm.write(message, file=sys.stderr)

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


def result_rows(result: Result) -> list[list[str]]:
    """Return a row per vertebra: number, level, posterior, volume, whether complete, flags."""
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
