"""Progress callbacks of long-running work; they also cancel it. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Called often by long-running work."""

    def __call__(self, stage: str, fraction: float) -> None:
        """Report progress.

        Args:
            stage: One of `STAGES`, or `MEASURE`.
            fraction: Completed share of this stage, in [0, 1].

        Raises:
            Cancelled: If the work should stop now.
        """


STAGES = {
    "read": 0.05,
    "locate": 0.20,
    "segment": 0.55,
    "instances": 0.05,
    "levels": 0.02,
    "restore": 0.10,
    "write": 0.03,
}
"""Stages of a run in order, with their shares of the total time."""

MEASURE = "measure"
"""The only stage of a measuring job; its fraction is that of the whole job."""

SEND, WAIT, FETCH = "send", "wait", "fetch"
"""Further stages of a job on a server: before its stages, in its line, and after its stages."""


def ignore(stage: str, fraction: float) -> None:
    """Discard the progress."""


def overall_fraction(stage: str, fraction: float) -> float:
    """Return the completed share of the whole run, in [0, 1].

    Raises:
        KeyError: If ``stage`` is not in `STAGES`.
    """
    if stage == MEASURE:
        return fraction
    names = list(STAGES)
    before = sum(STAGES[name] for name in names[: names.index(stage)])
    return before + STAGES[stage] * fraction


Warn = Callable[[str], None]
