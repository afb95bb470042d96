"""Connections that send or take too slowly, or are too many, are closed.

uvicorn limits the idle time between two requests only.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from spinemamba.server.settings import Settings

_BODY_UNREAD_S = 5.0
"""Time for the rest of a refused request: a client that only then reads the answer gets it."""


def guarded_protocol(settings: Settings) -> type[asyncio.Protocol]:
    """Return the class of a connection with limits.

    Args:
        settings: Times and numbers.
    """
    counts: Counter[str] = Counter()

    class Guarded(_GuardedProtocol):
        limits, by_address = settings, counts

    return Guarded


class _GuardedProtocol(H11Protocol):
    """A connection with limits of time and number."""

    limits: Settings
    by_address: Counter[str]

    _header: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, or close it if there are too many."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.by_address[self._address] += 1
        rates = self.limits.rates
        own = 0 if self.limits.behind_proxy else self.by_address[self._address]
        if own > rates.connections_per_address or self.by_address.total() > rates.connections:
            transport.abort()
            return
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        super().connection_lost(exc)
        self.by_address[self._address] -= 1
        if self.by_address[self._address] <= 0:
            del self.by_address[self._address]
        for timer in (self._header, self._writing, self._unread):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the header of a request must be complete in time."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._await_header()
        elif self._header is not None:
            self._header.cancel()
            self._header = None

    def pause_writing(self) -> None:
        """Wait for a client to take the answer, for a limited time."""
        super().pause_writing()
        self._writing = self._after(self.limits.timeouts.idle_s)

    def resume_writing(self) -> None:
        """Go on with an answer."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def on_response_complete(self) -> None:
        """Close a connection whose refused request does not end soon."""
        super().on_response_complete()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._unread = self._after(_BODY_UNREAD_S)

    def _await_header(self) -> None:
        if self._header is None:
            self._header = self._after(self.limits.timeouts.header_s)

    def _after(self, seconds: float) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, self._abort)

    def _abort(self, *_: Any) -> None:
        self.transport.abort()
