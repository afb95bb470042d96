"""How long-running work tells how far it is, and how it is told to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Called often by long-running work."""

    def __call__(self, stage: str, fraction: float) -> None:
        """Report progress.

        Args:
            stage: One of `STAGES`, or `MEASURE`.
            fraction: Share of this stage that is done, in [0, 1].

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
"""Stages of a run in their order, with the share of the whole time that each takes."""

MEASURE = "measure"
"""The only stage of measuring: its fraction is that of the whole job."""


def ignore(stage: str, fraction: float) -> None:
    """Report to nobody."""


def overall_fraction(stage: str, fraction: float) -> float:
    """Return the share of the whole run that is done, in [0, 1].

    Raises:
        KeyError: If ``stage`` is not in `STAGES`.
    """
    if stage == MEASURE:
        return fraction
    names = list(STAGES)
    before = sum(STAGES[name] for name in names[: names.index(stage)])
    return before + STAGES[stage] * fraction


Warn = Callable[[str], None]
