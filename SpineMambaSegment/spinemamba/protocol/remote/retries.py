"""Repeat requests while their errors are transient. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from spinemamba.protocol.remote.http_connection import RefusedError, UnreachableError

T = TypeVar("T")


@dataclass(frozen=True)
class Retries:
    """How often a request is repeated, and after which waits.

    Attributes:
        attempts: Number of attempts.
        first_s: Wait after the first one; each further wait is twice as long.
        longest_s: Longest wait.
        sleep: Waits.
    """

    attempts: int = 5
    first_s: float = 1.0
    longest_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep

    def run(self, action: Callable[[], T]) -> T:
        """Return the result of an action; repeat it while its errors are transient.

        Raises:
            UserError: The last error, or the first that is not transient.
        """
        wait_s = self.first_s
        for attempt in range(1, self.attempts + 1):
            try:
                return action()
            except (UnreachableError, RefusedError) as error:
                lasting = isinstance(error, RefusedError) and not error.is_transient
                if lasting or attempt == self.attempts:
                    raise
                asked_s = getattr(error, "retry_after_s", None)
            self.sleep(min(self.longest_s, max(wait_s, asked_s or 0.0)))
            wait_s *= 2
        raise AssertionError("attempts must be at least 1")
