"""Computations in short steps, for callers with an event loop that must not be blocked."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")
Steps = Generator[None, None, Result]
"""A computation that yields after each step, and returns its result at the end."""


def run_to_end(steps: Steps[Result]) -> Result:
    """Run all steps at once and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
