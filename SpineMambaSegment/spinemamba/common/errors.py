"""The exception for errors that a user can correct, and its codes."""

from __future__ import annotations

from enum import Enum


class Code(str, Enum):
    """Kinds of errors; panel and log show the value."""

    INPUT_BAD = "INPUT_BAD"
    OUTPUT_BAD = "OUTPUT_BAD"
    MODEL_MISSING = "MODEL_MISSING"
    MODEL_BAD = "MODEL_BAD"
    NO_SPINE = "NO_SPINE"
    NO_GPU = "NO_GPU"
    OOM_GPU = "OOM_GPU"
    OOM_HOST = "OOM_HOST"
    DISK_FULL = "DISK_FULL"
    DEPENDENCY_MISSING = "DEPENDENCY_MISSING"
    SERVER_UNREACHABLE = "SERVER_UNREACHABLE"
    SERVER_REFUSED = "SERVER_REFUSED"
    CANCELLED = "CANCELLED"
    CRASH = "CRASH"
    INTERNAL = "INTERNAL"


class UserError(Exception):
    """An error that the user can correct.

    Args:
        message: One sentence: what happened, with the offending value.
        remedy: One sentence: how to correct it.
        code: Kind of error.
    """

    def __init__(self, message: str, remedy: str, code: Code = Code.INPUT_BAD):
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"

    def __reduce__(self) -> tuple[type, tuple[str, str, Code]]:
        """Return how a copy is made, because errors also pass from worker processes to others."""
        return UserError, (self.message, self.remedy, self.code)


class Cancelled(Exception):  # noqa: N818 - not an error
    """The user has cancelled the work."""
