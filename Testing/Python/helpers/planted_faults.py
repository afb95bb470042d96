"""A worker of a cohort whose cases do nothing, with a fault at a chosen place of the pipeline."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from spinemamba.common import error_reports
from spinemamba.common.errors import Cancelled
from spinemamba.jobs import pipeline
from spinemamba.protocol import events, job

PLACE = "PLANTED_FAULT"
"""Variable with the place of the fault, one of `PLACES`, or such as ``a segment SystemExit``: case,
stage and exception."""

SITE = """
import sys
if "--pipeline" in sys.orig_argv:
    import os, time
    if os.environ["PLANTED_FAULT"] == "silent start":
        time.sleep(600)
    import planted_faults
    planted_faults.install()
"""
"""Content of sitecustomize.py; Python executes it at its start."""

_ERRORS: dict[str, type[BaseException]] = {
    "TypeError": TypeError,
    "SystemExit": SystemExit,
    "MemoryError": MemoryError,
    "Cancelled": Cancelled,
}


def environment(folder: Path, place: str) -> dict[str, str]:
    """Return the variables of a worker with a fault."""
    (folder / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    package = Path(pipeline.__file__).parents[2]
    path = (str(folder), str(Path(__file__).parent), str(package))
    return {"PYTHONPATH": os.pathsep.join(path), PLACE: place}


def install() -> None:
    """Replace the stages of this process by nothing, and plant the fault."""
    module = ModuleType("spinemamba.jobs.cohort_case")
    module.CohortCase = _Case
    sys.modules[module.__name__] = module
    pipeline._kept_model = lambda: None
    if plant := PLACES.get(os.environ[PLACE]):
        plant()


class _Case:
    """A case whose stages do nothing, or have the fault."""

    seconds = 0.0
    _last_is_read = threading.Event()

    def __init__(self, job: Any, progress: Callable[[str, float], None], name: str):
        self.job, self.name, self._progress = job, name, progress

    def read(self) -> None:
        self._stage("read")

    def segment(self, load: object) -> None:
        self._stage("segment")

    def write(self) -> None:
        self._stage("write")

    def _stage(self, stage: str) -> None:
        self._progress(stage, 0.0)
        case, at, what = (os.environ[PLACE].split() * 3)[:3]
        if (self.job.case, stage) == ("b", "read"):
            self._last_is_read.set()
        if (case, at) == (self.job.case, stage):
            # An error in a case must not leave the next one waiting, which has been received.
            if case == "a" and stage != "read":
                self._last_is_read.wait(5)
            if what in _ERRORS:
                raise _ERRORS[what]
            _DEATHS[what]()


def _freeze() -> None:
    """Stop this process, as a debugger or a full swap does."""
    os.kill(os.getpid(), signal.SIGSTOP)


def _wait() -> None:
    time.sleep(600)


def _close_output() -> None:
    """Close the pipe to the parent, and go on."""
    for number in range(3, 20):
        try:
            os.close(number)
        except OSError:
            continue
    _wait()


def _write_noise() -> None:
    """Write something that is not an event to the pipe, in the place of the events."""
    for number in range(3, 20):
        try:
            os.write(number, b"noise\n")
        except OSError:
            continue
    _wait()


_DEATHS: dict[str, Callable[[], object]] = {
    "exit": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "freeze": _freeze,
    "closed": _close_output,
    "noise": _write_noise,
}


def _raise(error: BaseException) -> NoReturn:
    raise error


def _in_sending(fault: Callable[[events.Event], bool], error: Exception) -> None:
    """Let the sending of some events fail."""
    to_line = events.to_line

    def broken(event: events.Event) -> str:
        return _raise(error) if fault(event) else to_line(event)

    events.to_line = broken


def _in_listening() -> None:
    """Let the thread that reads requests fail after a moment."""
    read = os.read

    def broken(number: int, size: int) -> bytes:
        data = read(number, size)
        return _raise(TypeError("read")) if number == 0 else data

    os.read = broken


def _is_heartbeat(event: events.Event) -> bool:
    return threading.current_thread().name.endswith("(beat)")


def _in_reporting() -> None:
    """Let the handling of an error fail."""
    error_reports.stack_of = lambda error: _raise(OSError("no space"))
    os.environ[PLACE] = "b read TypeError"


PLACES: dict[str, Callable[[], object]] = {
    "start": lambda: os._exit(0),
    "model": lambda: setattr(pipeline, "_kept_model", lambda: _raise(ImportError("torch"))),
    "job file": lambda: setattr(job, "read_job", lambda path: _raise(TypeError("job"))),
    "case": lambda: setattr(_Case, "__init__", lambda *words: _raise(TypeError("case"))),
    "thread": lambda: setattr(threading.Thread, "start", lambda t: _raise(RuntimeError("thread"))),
    "pool": lambda: setattr(
        pipeline.ThreadPoolExecutor, "submit", lambda *words: _raise(RuntimeError("thread"))
    ),
    "finished": lambda: _in_sending(lambda e: isinstance(e, events.Finished), TypeError()),
    "closed pipe": lambda: _in_sending(
        lambda e: not isinstance(e, events.Hello), BrokenPipeError()
    ),
    "reporting": _in_reporting,
    "listen": _in_listening,
    "beat": lambda: _in_sending(_is_heartbeat, TypeError()),
}
