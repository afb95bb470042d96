"""A reason to look at a vertebra. Standard library only: the panel reads it too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """A reason to look at a vertebra.

    Attributes:
        name: Identifier that stays the same from version to version, such as "low_margin".
        value: The number that was too high or too low; None where there is none.
        sentence: What the user reads.
    """

    name: str
    value: float | None
    sentence: str


def sentences(flags: Iterable[Flag]) -> str:
    """Return what the user reads of all flags, in one line."""
    return " ".join(flag.sentence for flag in flags)


def names(flags: Iterable[Flag]) -> str:
    """Return the names of all flags, in one line."""
    return " ".join(flag.name for flag in flags)
