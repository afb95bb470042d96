"""The exception for requests that are refused."""

from __future__ import annotations

from spinemamba.protocol.remote.formats import REFUSED, RefusedRequest
from spinemamba.protocol.remote.refusals import STATUS, Refusal


class RefusedError(Exception):
    """A request is refused.

    Args:
        code: Kind of refusal.
        message: One sentence: what is wrong.
        remedy: One sentence: what to do.
        retry_s: Time after which the same request may succeed; None if waiting does not help.
    """

    def __init__(self, code: Refusal, message: str, remedy: str, retry_s: float | None = None):
        super().__init__(message)
        self.content = RefusedRequest(code, message, remedy, retry_s)

    @property
    def status(self) -> int:
        """HTTP status."""
        return STATUS[self.content.code]

    @property
    def body(self) -> bytes:
        """Body of the answer."""
        return REFUSED.to_text(self.content, indent=None).encode()


def no_such_job() -> RefusedError:
    """Return the error for an unknown job, and for that of another client."""
    return RefusedError(
        "NOT_FOUND",
        "There is no such job.",
        "It was cancelled or never sent, or belongs to another token. Start it again.",
    )


def disk_full() -> RefusedError:
    """Return the error for a full disk of the server."""
    return RefusedError(
        "DISK_FULL",
        "The disk of the server is full.",
        "Try again later, or ask its administrator to free space.",
        retry_s=60.0,
    )
