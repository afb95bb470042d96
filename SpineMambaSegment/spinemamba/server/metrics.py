"""Counters in the text format of Prometheus."""

from __future__ import annotations

import threading
from collections import Counter

_PREFIX = "spinemamba_"

_HELP = {
    "accepted": "Jobs that were accepted.",
    "done": "Jobs that ended with a result.",
    "failed": "Jobs that ended without a result.",
    "cancelled": "Jobs that their clients erased.",
    "fetched": "Results that were sent completely.",
    "uploads_refused": "Uploads that were refused or broken off.",
    "wrong_tokens": "Requests with a wrong token.",
    "locked_out": "Addresses that were locked out.",
    "rate_limited": "Requests refused because a client asked too often.",
    "internal_errors": "Requests that ended in an error of the program.",
    "received_bytes": "Bytes of accepted requests.",
    "seconds": "Time of jobs on their devices.",
}


class Metrics:
    """Counters; usable from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: Counter[str] = Counter(dict.fromkeys(_HELP, 0))

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a counter, a name in `_HELP`."""
        with self._lock:
            self._counters[name] += amount

    def ended(self, outcome: str, seconds: float) -> None:
        """Count a job that has ended.

        Args:
            outcome: "done" or "failed".
            seconds: Time on its device.
        """
        self.count(outcome)
        self.count("seconds", seconds)

    def text(self, gauges: dict[str, tuple[str, float]]) -> str:
        """Return all values.

        Args:
            gauges: Present values by name, each with its description.
        """
        with self._lock:
            counters = dict(self._counters)
        lines = []
        for name, value in counters.items():
            lines += _lines(f"{name}_total", _HELP[name], "counter", value)
        for name, (text, value) in gauges.items():
            lines += _lines(name, text, "gauge", value)
        return "\n".join([*lines, ""])


def _lines(name: str, text: str, kind: str, value: float) -> list[str]:
    whole = f"{_PREFIX}{name}"
    return [f"# HELP {whole} {text}", f"# TYPE {whole} {kind}", f"{whole} {value:g}"]
