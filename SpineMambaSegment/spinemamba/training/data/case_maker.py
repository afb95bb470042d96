"""Make the cases that a folder lacks, in one or several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from spinemamba.common.processes import Mapper
from spinemamba.training.data.case_store import CaseStore, StoredCase

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class CaseMaker:
    """How missing cases are made, and messages about them.

    Attributes:
        store: Where they are kept.
        report: Receives messages.
        each: Applies a function to many items.
    """

    store: CaseStore
    report: Callable[[str], None]
    each: Mapper

    def made(
        self, make: Callable[[_Item], StoredCase], items: Sequence[_Item]
    ) -> dict[str, StoredCase]:
        """Return the cases that ``make`` returns for the items, by name."""
        cases: dict[str, StoredCase] = {}
        for number, case in enumerate(self.each(make, items), start=1):
            self.report(f"{case.name} ({number} of {len(items)})")
            cases[case.name] = case
        return cases


def unheard(message: str) -> None:
    """Discard a message; the parent process reports each case when it is made."""


def replaced(cases: list[StoredCase], new: dict[str, StoredCase]) -> list[StoredCase]:
    """Return the cases with new ones in place of those of the same name, and others at the end.

    The order determines which patches a training draws.
    """
    names = {case.name for case in cases}
    added = [case for name, case in new.items() if name not in names]
    return [new.get(case.name, case) for case in cases] + added
