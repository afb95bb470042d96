"""Exit codes of the shell and the worker. Standard library only."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a process ended."""

    DONE = 0
    BUG = 1
    USER_ERROR = 2
    CANCELLED = 3
