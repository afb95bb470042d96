"""The one exception that a user can put right."""

from __future__ import annotations

from enum import Enum


class Code(str, Enum):
    """What kind of thing went wrong; the panel and the log show the value."""

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
    CANCELLED = "CANCELLED"
    CRASH = "CRASH"
    INTERNAL = "INTERNAL"


class UserError(Exception):
    """Something that the user can put right.

    Args:
        message: One sentence: what happened, with the value.
        remedy: One sentence: what to do about it.
        code: What kind of error it is.
    """

    def __init__(self, message: str, remedy: str, code: Code = Code.INPUT_BAD):
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"


class Cancelled(Exception):  # noqa: N818 - not an error: the user asked for it
    """The user asked to stop."""
