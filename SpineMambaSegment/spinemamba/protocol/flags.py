"""Quality flags of a vertebra. Standard library only, because the panel reads them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """A reason to check a vertebra.

    Attributes:
        name: Identifier, stable between versions, such as "low_margin".
        value: Measured value that is out of range; None if the flag has no value.
        sentence: Message for the user.
    """

    name: str
    value: float | None
    sentence: str


def sentences(flags: Iterable[Flag]) -> str:
    """Return the messages of all flags in one line."""
    return " ".join(flag.sentence for flag in flags)


def names(flags: Iterable[Flag]) -> str:
    """Return the names of all flags in one line."""
    return " ".join(flag.name for flag in flags)
