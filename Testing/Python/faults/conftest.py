"""The fault matrix: outcomes of all planted faults, counted by kind and printed at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

RIGHT, REFUSED, ELSE = "right", "refused", "anything else"
OUTCOMES = (RIGHT, REFUSED, ELSE)
PROPERTY = "fault outcome"

Record = Callable[[str, str], None]


@pytest.fixture
def outcome(record_property: Callable[[str, object], None]) -> Record:
    """Record the outcome of one planted fault.

    Call it with the kind of fault ("header of NIfTI") and one of `OUTCOMES`: the result is
    ``right`` (the same as without the fault), the fault was ``refused`` with a message, or
    ``anything else``. The test itself asserts that the last did not happen.
    """

    def record(kind: str, result: str) -> None:
        assert result in OUTCOMES
        record_property(PROPERTY, (kind, result))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one row for each kind of fault, also from several processes."""
    counts: Counter[tuple[str, str]] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                counts.update(tuple(v) for k, v in report.user_properties if k == PROPERTY)
    if not counts:
        return
    terminalreporter.section("fault matrix")
    kinds = sorted({kind for kind, _ in counts})
    width = max(map(len, [*kinds, "all"]))
    terminalreporter.write_line(" " * width + "".join(f"  {name:>13}" for name in OUTCOMES))
    for kind in [*kinds, "all"]:
        chosen = kinds if kind == "all" else [kind]
        cells = (sum(counts[k, name] for k in chosen) for name in OUTCOMES)
        terminalreporter.write_line(f"{kind:<{width}}" + "".join(f"  {n:>13}" for n in cells))
