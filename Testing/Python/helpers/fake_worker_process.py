"""A worker that stops at a chosen stage, and helpers to wait for processes and events."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from spinemamba.protocol import events
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.worker_client import WorkerProcess

STAND_IN = """
import contextlib, ctypes, os, sys, time
from pathlib import Path
sys.path.insert(0, {package!r})
from spinemamba.common.errors import UserError
from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.common.progress import STAGES
from spinemamba.worker import main

def run(job, progress, warn):
    stop_at, how = os.environ.get("STOP_AT"), os.environ.get("HOW")
    with contextlib.ExitStack() as stack:
        partials = [stack.enter_context(whole_or_nothing(path)) for path in job.outputs]
        partial = partials[0]
        for stage in STAGES:
            if stage == "write":
                partial.write_bytes(b"half")
            progress(stage, 0.0)
            if stage == stop_at:
                for path in partials:
                    path.write_bytes(b"half")
                if how == "polite":
                    while True:
                        progress(stage, 0.5)
                        time.sleep(0.01)
                if how == "deaf":
                    time.sleep(600)
                if how == "busy":
                    while True:
                        sum(range(1000000))
                if how == "abort":
                    os.abort()
                if how == "bug":
                    scan = job.input
                    raise RuntimeError(f"secret value in {{scan}}, that is {{scan.name!r}}")
                if how == "user":
                    raise UserError("It is too dark.", "Switch the light on.")
            progress(stage, 1.0)
        print("chatter", flush=True)
        ctypes.CDLL(None).puts(b"murmur in C")
        ctypes.CDLL(None).fflush(None)
        warn("all is well")
        for path in partials:
            path.write_bytes(b"labels")

code = main(sys.argv[1:], run=run, grace_s=float(os.environ.get("GRACE_S", "0.3")))
sys.stderr.flush()
time.sleep(float(os.environ.get("EXIT_S", "0")))
os._exit(code)
"""

LAUNCHER = """
import subprocess, sys
worker = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE)
for line in sys.stdin.buffer:
    worker.stdin.write(line)
worker.stdin.close()
sys.exit(worker.wait())
"""


def start(tmp_path: Path, python: str, result: Path | None = None) -> WorkerProcess:
    """Start the fake worker on a job whose input has the name of a patient."""
    folder = tmp_path / "run"
    folder.mkdir()
    job = SegmentJob(tmp_path / "Doe John.nrrd", folder / "labels.nrrd", result)
    return WorkerProcess.start(job, folder, python)


def collect(worker: WorkerProcess, until: type | str, seconds: float = 30.0) -> list[events.Event]:
    """Read events until one of a kind, or progress in a stage."""
    found: list[events.Event] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found += worker.new_events()
        for event in found:
            if isinstance(until, str):
                if isinstance(event, events.Progress) and event.stage == until:
                    return found
            elif isinstance(event, until):
                return found
        time.sleep(0.01)
    raise AssertionError(f"no {until} within {seconds} s, only {found}")


def is_gone(pid: int, seconds: float = 5.0) -> bool:
    """Return whether a process has ended or ends within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if sys.platform == "win32":
            # There, os.kill with 0 would send Ctrl-C.
            command = ["tasklist", "/NH", "/FI", f"PID eq {pid}"]
            if str(pid) not in subprocess.run(command, capture_output=True, text=True).stdout:
                return True
            time.sleep(0.1)
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat")
            if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            time.sleep(0.02)
            continue
        return True
    return False


def left_in(worker: WorkerProcess) -> set[str]:
    """Return the names of the files in the folder of the run."""
    return {path.name for path in worker.log.parent.iterdir()}
