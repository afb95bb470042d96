"""Estimate of the remaining time of a run from its progress."""

from __future__ import annotations

import time
from collections.abc import Callable

MIN_ELAPSED_S = 3.0
MIN_PROGRESS = 0.05
SMOOTHING = 0.3


class RemainingTime:
    """Smoothed estimate of the remaining time; the progress of a run is only roughly linear.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._start_s = clock()
        self._total_s: float | None = None

    def update(self, overall: float) -> float | None:
        """Return the remaining seconds; None while it is too early for an estimate.

        Args:
            overall: Progress of the run, in [0, 1].
        """
        elapsed_s = self._clock() - self._start_s
        if elapsed_s < MIN_ELAPSED_S or overall < MIN_PROGRESS:
            return None
        total_s = elapsed_s / overall
        if self._total_s is None:
            self._total_s = total_s
        self._total_s += SMOOTHING * (total_s - self._total_s)
        return max(0.0, self._total_s - elapsed_s)
