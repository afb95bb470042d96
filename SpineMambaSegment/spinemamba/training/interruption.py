"""Ends of a training before its schedule: signals, and the time limit of a scheduler."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

_SAME_PRESS_S = 1.0


@dataclass
class Interruption:
    """Whether a training should end after its present step.

    Attributes:
        reason: Why; empty if it should go on.
    """

    reason: str = ""


@contextmanager
def interruptible(report: Callable[[str], None]) -> Iterator[Interruption]:
    """Handle signals while the block runs: the training can finish its step and save.

    A second Ctrl+C raises KeyboardInterrupt at once, unless it follows within a second: torchrun
    passes on what the terminal has sent already. Signals that are ignored, as SIGHUP under nohup,
    stay so. Only the main thread can handle signals; in others nothing changes.

    Args:
        report: Receives a message at the first signal.
    """
    state = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return

    first_s = 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first_s
        if not state.reason:
            report("stopping after this step; press Ctrl+C again to stop without saving")
            state.reason, first_s = signal.Signals(number).name, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - first_s > _SAME_PRESS_S:
            raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    caught = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in caught:
        signal.signal(number, note)
    try:
        yield state
    finally:
        for number in caught:
            signal.signal(number, before[number])


class TimeLimit:
    """Time until which a call must have ended, with enough left for a step and a checkpoint.

    Args:
        minutes: Minutes from now; None for no limit.
    """

    def __init__(self, minutes: float | None):
        self._end = None if minutes is None else time.monotonic() + 60 * minutes
        self._longest_step_s = self._longest_save_s = 0.0

    def step_took(self, seconds: float) -> None:
        """Note the duration of a step."""
        self._longest_step_s = max(self._longest_step_s, seconds)

    def save_took(self, seconds: float) -> None:
        """Note the duration of writing a checkpoint."""
        self._longest_save_s = max(self._longest_save_s, seconds)

    @property
    def reached(self) -> bool:
        """Whether the next step and a checkpoint may not fit any more."""
        if self._end is None:
            return False
        return time.monotonic() + self._longest_step_s + 2 * self._longest_save_s > self._end
