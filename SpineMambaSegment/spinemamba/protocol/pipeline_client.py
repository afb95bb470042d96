"""Start a worker for many cases, send it cases, read its events. Standard library only."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spinemamba.common.errors import Code
from spinemamba.protocol import events
from spinemamba.protocol.job import JOB, CohortJob
from spinemamba.protocol.worker_client import LOG_NAME, kill_group, start_module, without_names

AHEAD = 2
"""Cases that are not yet segmented: one in the networks, and the next one, which is read."""

MOST_IN_FLIGHT = 3
"""Cases in progress, with the one that is written: each is in memory."""

SILENCE_S = 600.0
"""Time in seconds without any event, not even a heartbeat, after which a worker is killed."""

_LONGEST_STEP_S = 1.0
"""Longest time between two looks for events that counts as silence: this process may have been
stopped, or busy with a large file, and has not yet received what the worker sent meanwhile."""


@dataclass
class InFlight:
    """A case in the worker.

    Attributes:
        job: The case.
        is_segmented: Whether only its files remain to be written.
    """

    job: CohortJob
    is_segmented: bool = False


@dataclass(frozen=True)
class CaseEnd:
    """The end of a case.

    Attributes:
        job: The case.
        event: `Finished` or `Failed`.
    """

    job: CohortJob
    event: events.Finished | events.Failed


@dataclass
class PipelineWorker:
    """A worker process for many cases; it is started with the first one.

    Attributes:
        folder: Folder for job files and messages of the process; created when needed.
        log: File to which messages are added at the end, without names of files.
        ahead: Greatest number of cases that are not yet segmented.
        environment: Environment variables of the process, besides those of this one.
        python: Interpreter.
        silence_s: Time in seconds without any event after which the process is killed.
    """

    folder: Path
    log: Path
    ahead: int = AHEAD
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable
    silence_s: float = SILENCE_S
    _process: subprocess.Popen[str] | None = None
    _reader: threading.Thread | None = None
    _count: int = 0
    _events: queue.Queue[events.Event] = field(default_factory=queue.Queue)
    _in_flight: dict[str, InFlight] = field(default_factory=dict)
    _private: set[Path] = field(default_factory=set)
    _pid: int | None = None
    _looked_s: float = 0.0
    _silent_s: float = 0.0

    @property
    def has_room(self) -> bool:
        """Whether the worker should get another case."""
        waiting = sum(not case.is_segmented for case in self._in_flight.values())
        most = MOST_IN_FLIGHT if self.ahead > 1 else 1
        return waiting < self.ahead and len(self._in_flight) < most

    @property
    def is_busy(self) -> bool:
        """Whether a case is in progress."""
        return bool(self._in_flight)

    def submit(self, job: CohortJob) -> None:
        """Send a case.

        Raises:
            OSError: If the process cannot be started.
        """
        if self._process is None:
            self._start()
        self._count += 1
        path = self.folder / f"{self._count}.json"
        JOB.write(job, path)
        self._in_flight[str(path)] = InFlight(job)
        self._private |= {*job.inputs, *job.outputs}
        # If the process has just ended, `ended_cases` reports it.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps({"cmd": "run", "job": str(path)}) + "\n")
            self._process.stdin.flush()

    def ended_cases(self) -> list[CaseEnd]:
        """Return the cases that ended since the last call, without waiting.

        After a crash, these are all cases in progress; the next case starts a new process.
        """
        if self._process is None:
            return []
        ended = []
        why = self._why_no_events()
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                self._silent_s = 0.0
                if end := self._take(event):
                    ended.append(end)
        if self._is_silent():
            why = f"no sign of life for {self.silence_s:.0f} s"
        if why:
            crash = events.Failed(
                Code.CRASH.value,
                f"The worker ended without a result ({why}).",
                "Close other programs to free memory and try again; report it with the log.",
            )
            ended += [CaseEnd(case.job, crash) for case in self._in_flight.values()]
            self.stop()
        return ended

    def _why_no_events(self) -> str:
        """Return why no further event can come, in words; empty if one can.

        All events of a process that has ended are in the queue afterwards.
        """
        if self._process.poll() is None and self._reader.is_alive():
            return ""
        # The pipe is closed a moment before the end of the process.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(events.GRACE_S)
        self._reader.join(events.GRACE_S)
        code = self._process.returncode
        return "its output is not readable" if code is None else f"exit code {code}"

    def _is_silent(self) -> bool:
        """Add the time since the last call; return whether the worker has been silent too long."""
        now = time.monotonic()
        self._silent_s += min(now - self._looked_s, _LONGEST_STEP_S)
        self._looked_s = now
        return self._silent_s > self.silence_s

    def stop(self, grace_s: float = 0.0) -> None:
        """End the process with all cases in progress; remove partial files and redact the log.

        Args:
            grace_s: Time in seconds to stop by itself after its stdin is closed.
        """
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(OSError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
        # After the end, the process id may belong to another process.
        if process.poll() is None:
            kill_group(process)
            process.wait()
        self._reader.join(events.GRACE_S)
        for case in self._in_flight.values():
            for pid in filter(None, (process.pid, self._pid)):
                case.job.remove_partial(pid)
        self._in_flight, self._events, self._pid = {}, queue.Queue(), None
        self._keep_log()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        with (self.folder / LOG_NAME).open("wb") as log:
            arguments = ["spinemamba.worker", "--pipeline"]
            self._process = start_module(self.python, arguments, log, self.environment)
        self._looked_s, self._silent_s = time.monotonic(), 0.0
        read = (self._process, self._events)
        self._reader = threading.Thread(target=_read, args=read, daemon=True)
        self._reader.start()

    def _take(self, event: events.Event) -> CaseEnd | None:
        """Note an event; return the end of a case."""
        if isinstance(event, events.Hello):
            self._pid = event.pid
            return None
        if isinstance(event, events.Progress) and event.job in self._in_flight:
            self._in_flight[event.job].is_segmented |= event.stage == "write"
        if not isinstance(event, events.Finished | events.Failed):
            return None
        case = self._in_flight.pop(event.job, None)
        if case is None:
            return None
        Path(event.job).unlink(missing_ok=True)
        return CaseEnd(case.job, event)

    def _keep_log(self) -> None:
        """Add the messages to the log, without the names of files: they often name a patient."""
        with contextlib.suppress(OSError):
            text = (self.folder / LOG_NAME).read_text(encoding="utf-8", errors="replace")
            if text:
                self.log.parent.mkdir(parents=True, exist_ok=True)
                with self.log.open("a", encoding="utf-8") as log:
                    log.write(without_names(text, sorted(self._private), self.folder))


def _read(process: subprocess.Popen[str], received: queue.Queue[events.Event]) -> None:
    """Put the events of a process into a queue until it ends, or sends something else."""
    has_started = False
    with process.stdout as lines:
        for line in lines:
            try:
                event = events.from_line(line)
            except ValueError:
                # A launcher may print other lines before the worker starts.
                if has_started:
                    return
                continue
            has_started = True
            received.put(event)
