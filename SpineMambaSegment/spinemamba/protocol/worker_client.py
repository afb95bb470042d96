"""Start the worker, read its events, stop it. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from spinemamba.common.errors import Code
from spinemamba.protocol import events
from spinemamba.protocol.job import JOB, FileJob

LOG_NAME = "worker.log"
JOB_NAME = "job.json"
WINDOWS = sys.platform == "win32"


class WorkerProcess:
    """A running worker process; create it with `start`."""

    def __init__(
        self, process: subprocess.Popen[str], folder: Path, job: FileJob, stays: bool = False
    ):
        self._process = process
        self._folder = folder
        self._job = job
        self._stays = stays
        self._events: queue.Queue[events.Event] = queue.Queue()
        self._worker_pid: int | None = None
        self._end_reported = False
        self._last: events.Event | None = None
        self._last_s = 0.0
        self._cancelled = False
        self._tidy = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def start(
        cls, job: FileJob, folder: Path, python: str = sys.executable, stays: bool = False
    ) -> WorkerProcess:
        """Start a worker in a new process group.

        Args:
            job: Job to run.
            folder: Run folder for job.json and the log; must exist.
            python: Interpreter, or a launcher that forwards stdin.
            stays: If True, the process waits after the job for the next one; see `run`.

        Raises:
            OSError: If the interpreter cannot be started.
        """
        path = folder / JOB_NAME
        JOB.write(job, path)
        options = ["--stay"] if stays else []
        with (folder / LOG_NAME).open("wb") as log:
            process = start_module(python, ["spinemamba.worker", *options, str(path)], log)
        return cls(process, folder, job, stays)

    def run(self, job: FileJob) -> None:
        """Run another job in a process that stays, after `Finished` or `Failed` of the last one.

        Raises:
            OSError: If the process has ended.
        """
        path = self._folder / JOB_NAME
        JOB.write(job, path)
        self._job, self._end_reported = job, False
        self._process.stdin.write(json.dumps({"cmd": "run", "job": str(path)}) + "\n")
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """Process id of the worker, or of its launcher."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """Log file, with all output of the worker except events."""
        return self._folder / LOG_NAME

    def new_events(self) -> list[events.Event]:
        """Return the events since the last call, without waiting.

        The last event of a worker that was not cancelled is `Finished` or `Failed`, also if the
        worker crashed. When it is returned, the process has ended, and the run folder contains
        only the log and outputs of the job; a process that stays ends with `kill`.
        """
        new = []
        with contextlib.suppress(queue.Empty):
            while True:
                new.append(self._events.get_nowait())
        if new and isinstance(new[-1], events.Finished | events.Failed):
            self._last, self._last_s = new.pop(), time.monotonic()
            # A launcher may not end before its stdin is closed.
            if not self._stays:
                self._close_stdin()
        ended = self._process.poll() is not None and not self._reader.is_alive()
        if ended and self._events.empty() and not self._end_reported and not self._cancelled:
            self._last = self._last or self._crash()
        # The interpreter of a worker with torch takes a moment to end; the caller does not wait.
        late = time.monotonic() - self._last_s > events.GRACE_S
        if self._last is not None and (ended or late or self._stays):
            self._end_reported = True
            if ended or not self._stays:
                self._tidy_up()
            new.append(self._last)
            self._last = None
        return new

    def is_running(self) -> bool:
        """Return whether the process is running."""
        return self._process.poll() is None

    def ask_to_stop(self) -> None:
        """Ask the worker to stop by closing its stdin; return at once."""
        self._cancelled = True
        self._close_stdin()

    def kill(self) -> None:
        """Kill the process group, wait for its end, and delete partial files."""
        self._cancelled = True
        # After the end, the process id may belong to another process.
        if not self._tidy:
            kill_group(self._process)
        self._tidy_up()

    def cancel(self, grace_s: float = events.GRACE_S) -> None:
        """Ask to stop, wait up to ``grace_s`` seconds, then kill."""
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self.kill()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises:
            subprocess.TimeoutExpired: If it takes longer.
        """
        code = self._process.wait(timeout_s)
        self._tidy_up()
        return code

    def _read(self) -> None:
        with self._process.stdout as lines:
            for line in lines:
                # A launcher may print other lines before the worker starts.
                with contextlib.suppress(ValueError):
                    event = events.from_line(line)
                    if isinstance(event, events.Hello):
                        self._worker_pid = event.pid
                    self._events.put(event)

    def _close_stdin(self) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _crash(self) -> events.Failed:
        return events.Failed(
            Code.CRASH.value,
            f"The worker ended without a result (exit code {self._process.returncode}).",
            "Close other programs to free memory and try again; report it with the log.",
        )

    def _tidy_up(self) -> None:
        """Wait for the end; delete partial files and job.json, and redact the log."""
        if self._tidy:
            return
        self._tidy = True
        # A launcher may not end before its stdin is closed.
        self._close_stdin()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(events.GRACE_S)
        # The pipe closes with the last process of the group; a launcher may end earlier.
        self._reader.join(events.GRACE_S)
        if self._process.poll() is None or self._reader.is_alive():
            kill_group(self._process)
            self._process.wait()
            self._reader.join(events.GRACE_S)
        if self._worker_pid is not None:
            self._job.remove_partial(self._worker_pid)
        (self._folder / JOB_NAME).unlink(missing_ok=True)
        text = self.log.read_text(encoding="utf-8", errors="replace")
        private = (*self._job.inputs, *self._job.outputs)
        self.log.write_text(without_names(text, private, self._folder), encoding="utf-8")


def without_names(text: str, files: Sequence[Path], run_folder: Path) -> str:
    """Return a log with paths and file names replaced, because they often name a patient.

    Args:
        text: The log.
        files: Files of the job; files in ``run_folder`` have names given by the program.
        run_folder: Folder of the run.
    """
    names: set[str] = set()
    for path in files:
        if path.parent != run_folder:
            whole = path.absolute()
            paths = (path, whole, path.parent, whole.parent)
            names |= {str(p) for p in paths} | {p.as_posix() for p in paths} | {path.name}
    # In the repr of a path, backslashes are doubled.
    names |= {name.replace("\\", "\\\\") for name in names}
    for name in sorted(names - {"", ".", "/"}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<file>", text)
    return text


def start_module(
    python: str,
    arguments: Sequence[str],
    errors: IO[bytes] | int,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a module of this package in a new process group, with pipes for stdin and stdout.

    Args:
        python: Interpreter, or a launcher that forwards stdin.
        arguments: Name of the module, and its arguments.
        errors: Destination of stderr.
        environment: Variables besides those of this process.

    Raises:
        OSError: If the interpreter cannot be started.
    """
    package_parent = str(Path(__file__).resolve().parents[2])
    search_path = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(search_path), "PYTHONUTF8": "1"}
    return subprocess.Popen(
        [python, "-m", *arguments],
        cwd=package_parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **(environment or {}), **own},
        **_own_group(),
    )


def _own_group() -> dict[str, object]:
    """Return options of Popen for a new process group, on Windows without a window."""
    if WINDOWS:
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a process and all processes that it started."""
    if WINDOWS:
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True, check=False)
        return
    # A launcher may have ended before its child; the group then still exists.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
