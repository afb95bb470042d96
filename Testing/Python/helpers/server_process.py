"""A server in a process of its own, with stand-in or real workers, and a plain client of it.

``python server_process.py settings.json`` runs the server; `RunningServer` starts it. Tests of the
API use it with a stand-in that does what a request says; tests of our client use `local_server`,
whose stand-in paints boxes or stops where the environment says.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spinemamba.protocol.remote.formats import CAPABILITIES, ENDED, ERASED, JOB_TYPE, JOBS
from spinemamba.server.tokens import add_token

WORKER = """
import ctypes, os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {package!r})
from spinemamba.common.errors import Code, UserError
from spinemamba.common.atomic_files import all_or_none
from spinemamba.common.progress import STAGES
from spinemamba.protocol.job import RelabelJob
from spinemamba.worker import main

def run(job, progress, warn):
    words = [pin.split() for pin in getattr(job, "fixed_levels", ()) if " " in pin]
    orders = dict((where, how) for where, how in words)
    with all_or_none(job.outputs) as partial:
        for stage in STAGES:
            progress(stage, 0.0)
            how = orders.get(stage, "")
            if how == "stop":
                while True:
                    progress(stage, 0.5)
                    time.sleep(0.01)
            if how == "deaf":
                time.sleep(600)
            if how == "frozen":
                os.kill(os.getpid(), signal.SIGSTOP)
            if how == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "bug":
                raise RuntimeError("Doe^John")
            if how == "user":
                raise UserError("No vertebra found.", "Choose another volume.", Code.NO_SPINE)
            if how.startswith("s="):
                time.sleep(float(how[2:]))
            if how.startswith("busy="):
                end_s = time.monotonic() + float(how[5:])
                while time.monotonic() < end_s:
                    progress(stage, 0.5)
                    sum(range(100_000))
        warn("look")
        for path in partial.values():
            path.write_bytes(job.input.read_bytes())

os.nice(5)  # as the worker itself does
sys.exit(main(sys.argv[1:], run=run, grace_s=0.3))
"""
"""A worker whose result is a copy of the image. A pin such as ``segment crash`` says what to do."""

_PAINTER = Path(__file__).resolve().parents[1] / "panel" / "fake_worker.py"


def worker_command(folder: Path) -> str:
    """Write the stand-in worker, and return an interpreter that runs it."""
    package = Path(sys.modules["spinemamba"].__file__).parents[1]
    script = folder / "stand_in.py"
    script.write_text(WORKER.format(package=str(package)), encoding="utf-8")
    return _interpreter(folder, f'shift 2\nexec "{sys.executable}" "{script}" "$@"')


def _interpreter(folder: Path, commands: str) -> str:
    path = folder / "python.sh"
    path.write_text(f"#!/bin/sh\n{commands}\n")
    path.chmod(0o755)
    return str(path)


def nrrd(seed: int = 0, side: int = 8, header: str = "") -> bytes:
    """Return a small image; different for each seed."""
    start = (
        f"NRRD0004\ntype: short\ndimension: 3\nsizes: {side} {side} {side}\n"
        "space: left-posterior-superior\nspace directions: (2,0,0) (0,2,0) (0,0,2)\n"
        f"space origin: (0,0,0)\nencoding: raw\nendian: little\n{header}\n"
    )
    voxels = seed.to_bytes(8, "little") * (side**3 // 4)
    return start.encode() + voxels


def request_body(files: Mapping[str, bytes], kind: str = "segment", **options: Any) -> bytes:
    """Return the body of a request; files are named by role and ending, as ``image.nrrd``."""
    listed = []
    for name, data in files.items():
        role, _, ending = name.partition(".")
        listed.append({"role": role, "ending": f".{ending}", "bytes": len(data)})
    line = {"schema": 1, "kind": kind, "files": listed, **options}
    return json.dumps(line).encode() + b"\n" + b"".join(files.values())


@dataclass
class Answer:
    """An answer of the server.

    Attributes:
        status: HTTP status.
        headers: Headers, with names in lower case.
        body: Body.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class HalfUpload:
    """An upload that has begun.

    Attributes:
        connection: Its connection.
        rest: Bytes that were not sent yet.
    """

    connection: socket.socket
    rest: bytes

    def finish(self) -> bytes:
        """Send the rest, and return the answer."""
        self.connection.sendall(self.rest)
        answer = b""
        while not answer.endswith(b"}\n") and (part := self.connection.recv(65536)):
            answer += part
        return answer


@dataclass
class RunningServer:
    """A server in a process of its own.

    Attributes:
        folder: Folder for its files.
        options: Changes of the settings: "limits", "rates", "timeouts" and names of settings.
        clients: Names of tokens to make; empty for a server without tokens.
        prefix: Words before the command, such as those that limit the size of files.
        tokens: Token of each client.
        environment: Variables for the server and its workers.
    """

    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    clients: tuple[str, ...] = ("anna", "ben")
    prefix: tuple[str, ...] = ()
    tokens: dict[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None
    port: int = 0

    @property
    def state(self) -> Path:
        """Folder of the server."""
        return self.folder / "state"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> RunningServer:
        """Start the server, and wait until it listens."""
        self.folder.mkdir(exist_ok=True)
        for name in self.clients:
            if name not in self.tokens:
                self.tokens[name] = add_token(self.folder / "tokens.json", name)
        settings = {
            "folder": str(self.state),
            "python": self.options.get("python") or worker_command(self.folder),
            "tokens": str(self.folder / "tokens.json") if self.clients else None,
            "spare_bytes": 0,
            **self.options,
        }
        path = self.folder / "settings.json"
        path.write_text(json.dumps(settings), encoding="utf-8")
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, __file__, str(path)],
                stdout=subprocess.PIPE,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    **self.environment,
                },
            )
        line = self.process.stdout.readline().decode()
        assert line, (self.folder / "server.log").read_text()
        self.port = int(line.split()[2].rpartition(":")[2])
        return self

    def stop(self) -> int:
        """Stop the server as systemd does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.stdout.close()

    def kill(self) -> None:
        """Kill the server."""
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()

    def __enter__(self) -> RunningServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

    def ask(
        self,
        method: str,
        path: str,
        client: str | None = "anna",
        body: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """Send a request and return the answer.

        Args:
            method: HTTP method.
            path: Path.
            client: Client whose token is sent; None for none.
            body: Body.
            headers: Further headers, with underscores for hyphens.
        """
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if client in self.tokens:
            sent.setdefault("Authorization", f"Bearer {self.tokens[client]}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read())
        finally:
            connection.close()

    def send(self, *orders: str, client: str = "anna", image: bytes = b"", **more: Any) -> Answer:
        """Send a job.

        Args:
            orders: What the stand-in does, such as "segment stop".
            client: Client.
            image: Image; empty for a small one.
            more: Further options of the request.
        """
        body = request_body({"image.nrrd": image or nrrd()}, fixed_levels=orders, **more)
        return self.ask("POST", JOBS, client, body, Content_Type=JOB_TYPE)

    @contextlib.contextmanager
    def half_upload(self, image: bytes, client: str = "anna") -> Iterator[HalfUpload]:
        """Begin an upload, and vanish at the end of the block."""
        body = request_body({"image.nrrd": image})
        head = (
            f"POST {JOBS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.tokens[client]}\r\n"
            f"Content-Type: {JOB_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        half = len(body) // 2
        before = self.files()
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(head.encode() + body[:half])
            deadline = time.monotonic() + 2
            # A disk of the server's own cannot be seen from here.
            while self.files() == before and time.monotonic() < deadline:
                time.sleep(0.01)
            yield HalfUpload(connection, body[half:])

    def wait(
        self, job: str, state: str = "", stage: str = "", client: str = "anna", seconds: float = 30
    ) -> dict[str, Any]:
        """Poll until a job has a state or a stage, or has ended if neither is given."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.ask("GET", f"{JOBS}/{job}", client).json
            if (state and found["state"] == state) or (stage and found["stage"] == stage):
                return found
            has_ended = found["state"] in ENDED
            if has_ended and not (state or stage):
                return found
            assert not has_ended or state == ERASED, found
            time.sleep(0.03)
        raise AssertionError(f"not {state or stage or 'ended'} within {seconds} s: {found}")

    def children(self) -> set[int]:
        """Return the ids of the processes that the server has started."""
        found = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return {int(word) for path in found for word in path.read_text().split()}

    def wait_for_no_files(self, seconds: float = 5) -> None:
        """Wait until nothing of a job is on the disk of the server."""
        deadline = time.monotonic() + seconds
        while self.files() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.files() == set()

    def count(self) -> tuple[int, int]:
        """Return the numbers of jobs in line and in progress, of a server without tokens."""
        with urllib.request.urlopen(f"{self.url}{CAPABILITIES}", timeout=10) as answer:
            about = json.load(answer)
        return about["queued"], about["running"]

    def wait_until_idle(self, seconds: float = 10) -> None:
        """Wait until there are neither jobs nor files of jobs; on a server without tokens."""
        deadline = time.monotonic() + seconds
        while self.count() != (0, 0) or self.files():
            assert time.monotonic() < deadline, (self.count(), self.files())
            time.sleep(0.05)

    def files(self) -> set[str]:
        """Return the paths of the files of jobs on the disk of the server."""
        folders = (self.state / "jobs", self.state / "incoming")
        return {
            path.relative_to(self.state).as_posix()
            for folder in folders
            for path in folder.rglob("*")
        }


@contextlib.contextmanager
def local_server(
    folder: Path,
    *,
    real: bool = False,
    tokens: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningServer]:
    """Run a server for tests of our client.

    Args:
        folder: Its folder; created.
        real: Whether it segments, instead of painting boxes as ``panel/fake_worker.py`` does.
        tokens: Its token file, or None.
        environment: Variables for the worker, such as STOP_AT.
    """
    import pytest  # the process of the server does not need it

    for package in ("fastapi", "uvicorn"):
        pytest.importorskip(package)
    folder.mkdir(parents=True, exist_ok=True)
    boxes = f'exec "{sys.executable}" "{_PAINTER}" "$@"'
    python = sys.executable if real else _interpreter(folder, boxes)
    options = {"python": python, "name": "Ward"}
    if tokens is not None:
        options["tokens"] = str(tokens)
    with RunningServer(folder, options, clients=(), environment=environment or {}) as server:
        yield server


def main(path: Path) -> None:
    """Run a server with the settings in a JSON file."""
    from spinemamba.protocol.remote.server_info import ServerDevice
    from spinemamba.server.run import Address, serve
    from spinemamba.server.settings import LIMITS, Rates, Settings, Timeouts

    values = json.loads(path.read_text(encoding="utf-8"))
    devices = tuple(ServerDevice("cpu") for _ in range(values.pop("devices", 1)))
    limits = replace(LIMITS, **values.pop("limits", {}))
    rates = replace(Rates(requests_per_s=1000, burst=1000), **values.pop("rates", {}))
    timeouts = replace(Timeouts(), **values.pop("timeouts", {}))
    paths = {key: values[key] and Path(values[key]) for key in ("folder", "tokens")}
    common = {"devices": devices, "limits": limits, "rates": rates, "timeouts": timeouts}
    tls = {name: Path(values.pop(name)) for name in ("certificate", "key") if name in values}
    serve(Address(port=0, **tls), Settings(**{**values, **paths, **common}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
