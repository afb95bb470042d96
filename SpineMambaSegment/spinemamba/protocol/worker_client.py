"""Start the worker, read its events, stop it. Standard library only."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from spinemamba.common.errors import Code
from spinemamba.protocol import events
from spinemamba.protocol.job import FileJob

LOG_NAME = "worker.log"
JOB_NAME = "job.json"
GRACE_S = 3.0
WINDOWS = sys.platform == "win32"


class WorkerProcess:
    """A running worker; made by `start`."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, job: FileJob):
        self._process = process
        self._folder = folder
        self._job = job
        self._events: queue.Queue[events.Event] = queue.Queue()
        self._worker_pid: int | None = None
        self._told_end = False
        self._cancelled = False
        self._tidy = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def start(cls, job: FileJob, folder: Path, python: str = sys.executable) -> WorkerProcess:
        """Start a worker in a process group of its own.

        Args:
            job: What it shall do.
            folder: Run folder for job.json and the log; must exist.
            python: Interpreter, or a launcher that passes stdin on.

        Raises:
            OSError: If the interpreter cannot be started.
        """
        path = folder / JOB_NAME
        job.write(path)
        with (folder / LOG_NAME).open("wb") as log:
            process = start_module(python, ["spinemamba.worker", str(path)], log)
        return cls(process, folder, job)

    @property
    def pid(self) -> int:
        """Process number of what was started: the worker, or its launcher."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """File that everything goes to which is no event."""
        return self._folder / LOG_NAME

    def new_events(self) -> list[events.Event]:
        """Return what the worker said since the last call; does not wait.

        The last event of a worker that was not cancelled is `Finished` or `Failed`, also if it
        died without a word. When it is returned, the process is gone, and what is left in the
        run folder is the log and whatever the job names as its output.
        """
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._events.get_nowait())
        if any(isinstance(event, events.Finished | events.Failed) for event in found):
            self._told_end = True
            self._tidy_up()
        gone = self._process.poll() is not None and not self._reader.is_alive()
        if gone and self._events.empty() and not self._told_end and not self._cancelled:
            self._told_end = True
            self._tidy_up()
            found.append(self._crash())
        return found

    def is_running(self) -> bool:
        """Return whether the process is there."""
        return self._process.poll() is None

    def ask_to_stop(self) -> None:
        """Ask politely by closing stdin; returns at once."""
        self._cancelled = True
        self._close_stdin()

    def kill(self) -> None:
        """End the whole process group, wait for it, and delete what it left half written."""
        self._cancelled = True
        # After the end, the number may belong to somebody else.
        if not self._tidy:
            kill_group(self._process)
        self._tidy_up()

    def cancel(self, grace_s: float = GRACE_S) -> None:
        """Ask to stop, wait so long, then kill."""
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
                # A launcher may print lines of its own before the worker starts.
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
        """Wait for the end; delete what is half written, and job.json; the log stays."""
        if self._tidy:
            return
        self._tidy = True
        # A launcher may end only when nothing more can come for its worker.
        self._close_stdin()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        # The pipe ends with the last process of the group, which a launcher may not wait for.
        self._reader.join(GRACE_S)
        if self._process.poll() is None or self._reader.is_alive():
            kill_group(self._process)
            self._process.wait()
            self._reader.join(GRACE_S)
        if self._worker_pid is not None:
            self._job.remove_partial(self._worker_pid)
        (self._folder / JOB_NAME).unlink(missing_ok=True)
        text = self.log.read_text(encoding="utf-8", errors="replace")
        private = (*self._job.inputs, *self._job.outputs)
        self.log.write_text(without_names(text, private, self._folder), encoding="utf-8")


def without_names(text: str, files: Sequence[Path], run_folder: Path) -> str:
    """Return a log without the paths and names of files, which often name a patient.

    Args:
        text: The log.
        files: Files of the job; those in ``run_folder`` were named by the program.
        run_folder: Folder of the run.
    """
    found: set[str] = set()
    for path in files:
        if path.parent != run_folder:
            whole = path.absolute()
            paths = (path, whole, path.parent, whole.parent)
            found |= {str(p) for p in paths} | {p.as_posix() for p in paths} | {path.name}
    # A backslash is doubled where Python shows a path in quotes.
    found |= {name.replace("\\", "\\\\") for name in found}
    for name in sorted(found - {"", ".", "/"}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<file>", text)
    return text


def start_module(
    python: str, arguments: Sequence[str], errors: IO[bytes] | int
) -> subprocess.Popen[str]:
    """Start a module of this package in a process group of its own, with pipes to and from it.

    Args:
        python: Interpreter, or a launcher that passes stdin on.
        arguments: Name of the module and what it shall get.
        errors: Where its stderr goes.

    Raises:
        OSError: If the interpreter cannot be started.
    """
    package_parent = str(Path(__file__).resolve().parents[2])
    search_path = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [python, "-m", *arguments],
        cwd=package_parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(search_path), "PYTHONUTF8": "1"},
        **_own_group(),
    )


def _own_group() -> dict[str, object]:
    """Return what starts a process in a group of its own, without a window on Windows."""
    if WINDOWS:
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"creationflags": flags}
    return {"start_new_session": True}


def kill_group(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started."""
    if WINDOWS:
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True, check=False)
        return
    # The leader may have ended while a child of a launcher goes on: the group still exists.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
