"""How long a run will still take, from how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST_S = 3.0
LEAST_SHARE = 0.05
SMOOTHING = 0.3


class RemainingTime:
    """Estimates the rest of a run; the shares of its stages are only nearly right.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._start_s = clock()
        self._total_s: float | None = None

    def update(self, overall: float) -> float | None:
        """Return the seconds that are left; None as long as there is no telling.

        Args:
            overall: Share of the run that is done, in [0, 1].
        """
        elapsed_s = self._clock() - self._start_s
        if elapsed_s < LEAST_S or overall < LEAST_SHARE:
            return None
        total_s = elapsed_s / overall
        if self._total_s is None:
            self._total_s = total_s
        self._total_s += SMOOTHING * (total_s - self._total_s)
        return max(0.0, self._total_s - elapsed_s)
