"""Exit codes of the shell and the worker. Standard library only."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a process ended.

    Attributes:
        DONE: All outputs are complete.
        BUG: An error of the program.
        USER_ERROR: An error that the user can correct, or some of several outputs are missing.
        CANCELLED: The user has cancelled; no incomplete file is left.
    """

    DONE = 0
    BUG = 1
    USER_ERROR = 2
    CANCELLED = 3
