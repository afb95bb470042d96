"""A network between clients and a server that can be cut."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class CutAt:
    """When a network is cut by itself.

    Attributes:
        request: Pattern of the first line of a request, such as ``b"POST /v1/jobs "``.
        sent: Least number of bytes of the request before the cut.
        answered: Least number of bytes of the answer. The last block is cut in two.
    """

    request: bytes
    sent: int = 0
    answered: int = 0


class Network:
    """Forwards connections to a port, until it is cut.

    Args:
        port: The port.
        silent: Whether a cut lets clients wait without an answer, and breaks their connections
            when it is mended; otherwise it breaks them at once and refuses new ones.
        cut_at: When it is cut by itself, once; None for never.
    """

    def __init__(self, port: int, *, silent: bool = False, cut_at: CutAt | None = None):
        self._port, self._silent, self._cut_at = port, silent, cut_at
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._is_open = threading.Event()
        self._is_open.set()
        self._lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def is_cut(self) -> bool:
        """Whether nothing is forwarded."""
        return not self._is_open.is_set()

    def cut(self) -> None:
        """Forward nothing any more."""
        self._is_open.clear()
        if not self._silent:
            self._break()

    def mend(self) -> None:
        """Forward again."""
        self._break()
        self._is_open.set()

    def close(self) -> None:
        """End."""
        self._silent = False
        self.cut()
        self._listener.close()
        self._is_open.set()

    def _break(self) -> None:
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._sockets.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self.is_cut and not self._silent:
                    near.close()
                    continue
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._is_open.wait()
        address = ("127.0.0.1", self._port)
        with (
            contextlib.suppress(OSError, ValueError),
            near,
            socket.create_connection(address) as far,
        ):
            with self._lock:
                self._sockets += [near, far]
            self._forward(near, far)

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        """Copy bytes in both directions until one side ends, or a silent cut is mended."""
        sent = answered = 0
        watched: CutAt | None = None
        while True:
            for source in select.select([near, far], [], [])[0]:
                if self.is_cut:  # what arrives meanwhile is lost
                    self._is_open.wait()
                    return
                data = source.recv(_BLOCK_BYTES)
                if not data:
                    return
                if source is near and self._cut_at and re.match(self._cut_at.request, data):
                    watched, sent, answered = self._cut_at, 0, 0
                if source is near:
                    sent += len(data)
                else:
                    answered += len(data)
                if watched and sent >= watched.sent and answered >= watched.answered:
                    # The other side gets a part of it.
                    (far if source is near else near).sendall(data[: len(data) // 2])
                    self._cut_at = watched = None
                    self.cut()
                    self._is_open.wait()
                    return
                (far if source is near else near).sendall(data)


@contextmanager
def network_to(
    port: int, *, silent: bool = False, cut_at: CutAt | None = None
) -> Iterator[Network]:
    """Yield a network between clients and the port of a server. Arguments as for `Network`."""
    made = Network(port, silent=silent, cut_at=cut_at)
    try:
        yield made
    finally:
        made.close()
