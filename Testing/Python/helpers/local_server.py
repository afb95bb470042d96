"""A real server with a worker that paints boxes, and a network that can be cut."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_SERVE = """
import json, sys
from pathlib import Path
from spinemamba.server.run import Address, serve
from spinemamba.server.settings import Settings
given = json.loads(sys.argv[1])
tokens = Path(given["tokens"]) if given["tokens"] else None
serve(Address(port=0), Settings(
    Path(given["folder"]), python=given["python"], tokens=tokens, name="Ward",
))
"""
_WORKER = Path(__file__).resolve().parents[1] / "panel" / "fake_worker.py"
_END_S = 20.0


@dataclass
class LocalServer:
    """A running server.

    Attributes:
        url: Its address.
        folder: Its folder.
        process: Its process.
    """

    url: str
    folder: Path
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        """Port at which it listens."""
        return int(self.url.rpartition(":")[2])

    def count(self) -> tuple[int, int]:
        """Return the numbers of jobs in line and in progress."""
        with urllib.request.urlopen(f"{self.url}/v1/capabilities", timeout=10) as answer:
            about = json.load(answer)
        return about["queued"], about["running"]

    def job_files(self) -> list[str]:
        """Return the names of files and folders of jobs that are left."""
        jobs = self.folder / "jobs"
        return sorted(p.name for p in jobs.iterdir()) if jobs.is_dir() else []


@contextmanager
def local_server(
    folder: Path,
    *,
    real: bool = False,
    tokens: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[LocalServer]:
    """Run a server on the loopback interface.

    Args:
        folder: Its folder; created.
        real: Whether it segments, instead of painting boxes.
        tokens: Its token file, or None.
        environment: Variables for the worker, such as STOP_AT.
    """
    for package in ("fastapi", "uvicorn"):
        pytest.importorskip(package)
    folder.mkdir(parents=True, exist_ok=True)
    python = sys.executable
    if not real:
        script = folder / "python"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{_WORKER}" "$@"\n')
        script.chmod(0o755)
        python = str(script)
    given = {"folder": str(folder / "server"), "python": python, "tokens": str(tokens or "")}
    package = str(Path(sys.modules["spinemamba"].__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, json.dumps(given)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": package, **(environment or {})},
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("Serving at "), line
        yield LocalServer(line.split()[2], folder / "server", process)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        process.kill()
        process.wait()
        process.stdout.close()


class Network:
    """Forwards connections to a port, until it is cut.

    Args:
        port: The port.
    """

    def __init__(self, port: int):
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._is_cut = threading.Event()
        self._lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.refused = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        self._is_cut.set()
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._sockets.clear()

    def mend(self) -> None:
        """Forward again."""
        self._is_cut.clear()

    def close(self) -> None:
        """End."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._is_cut.is_set():
                    self.refused += 1
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._port))
                with self._lock:
                    self._sockets += [near, far]
                threading.Thread(target=_forward, args=(near, far), daemon=True).start()


def _forward(near: socket.socket, far: socket.socket) -> None:
    """Copy bytes in both directions until one side ends."""
    with near, far, contextlib.suppress(OSError, ValueError):
        while True:
            for source in select.select([near, far], [], [])[0]:
                data = source.recv(1 << 16)
                if not data:
                    return
                (far if source is near else near).sendall(data)


@contextmanager
def network_to(server: LocalServer) -> Iterator[Network]:
    """Yield a network between clients and a server."""
    made = Network(server.port)
    try:
        yield made
    finally:
        made.close()
