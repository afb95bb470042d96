"""Limits for clients that ask too often, and lock-out of addresses that try tokens."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from spinemamba.server.settings import Rates

_MOST_KEYS = 10_000
"""Clients and addresses that are remembered; the one unused for longest is forgotten first."""

Clock = Callable[[], float]


class RateLimit:
    """A token bucket per client.

    Args:
        rates: Mean rate and burst.
        clock: Time in seconds.
    """

    def __init__(self, rates: Rates, clock: Clock = time.monotonic):
        self._rates, self._clock = rates, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """Count a request; return 0 if it may pass, else the time after which one may."""
        now = self._clock()
        left, before = self._buckets.pop(key, (self._rates.burst, now))
        left = min(self._rates.burst, left + (now - before) * self._rates.requests_per_s)
        passes = left >= 1
        self._buckets[key] = (left - 1 if passes else left, now)
        if len(self._buckets) > _MOST_KEYS:
            self._buckets.popitem(last=False)
        return 0.0 if passes else (1 - left) / self._rates.requests_per_s


class LockOut:
    """Locks out addresses after several wrong tokens.

    A token that was right from this address before the lock-out keeps working, because several
    workstations may share an address.

    Args:
        rates: Number of wrong tokens, and time.
        clock: Time in seconds.
    """

    def __init__(self, rates: Rates, clock: Clock = time.monotonic):
        self._rates, self._clock = rates, clock
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()
        self._locked: OrderedDict[str, float] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def locked_s(self, address: str) -> float:
        """Return for how long an address is still locked out; 0 if it is not."""
        until = self._locked.get(address, 0.0)
        return max(0.0, until - self._clock())

    def is_known(self, address: str, client: str) -> bool:
        """Return whether a client has had a right token from an address."""
        return (address, client) in self._known

    def right(self, address: str, client: str) -> None:
        """Note a right token."""
        self._known.pop((address, client), None)
        self._known[address, client] = None
        _shorten(self._known)

    def wrong(self, address: str) -> bool:
        """Note a wrong token; return whether the address is locked out because of it."""
        now = self._clock()
        recent = [t for t in self._wrong.pop(address, []) if now - t < self._rates.lock_out_s]
        recent.append(now)
        if len(recent) < self._rates.wrong_tokens:
            self._wrong[address] = recent
            _shorten(self._wrong)
            return False
        self._locked[address] = now + self._rates.lock_out_s
        _shorten(self._locked)
        return True


def _shorten(table: OrderedDict) -> None:
    while len(table) > _MOST_KEYS:
        table.popitem(last=False)
