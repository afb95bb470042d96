"""The background process: ``python -m spinemamba.worker [--stay] job.json``.

Events go to stdout, one JSON object per line. Everything else goes to stderr, which the parent
redirects to the log. To cancel, the parent closes stdin or writes ``{"cmd": "cancel"}`` and a line
end; if the parent dies, stdin closes too. If the job has not stopped after a grace period, the
process exits. `ExitCode` lists the exit codes.

With ``--stay``, the process waits after each job for ``{"cmd": "run", "job": "job.json"}`` and a
line end, so that the next job need not import everything again.

With ``--pipeline``, it takes further cases of a cohort in the same way while a case is in progress:
the next one is read and the last one written while the networks compute. Events name their job.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from spinemamba import __version__
from spinemamba.common.error_reports import as_user_error, stack_of
from spinemamba.common.errors import Cancelled, Code, UserError
from spinemamba.common.exit_codes import ExitCode
from spinemamba.common.headless import use_agg_backend
from spinemamba.common.process_tuning import lower_priority
from spinemamba.common.progress import overall_fraction
from spinemamba.protocol import events
from spinemamba.protocol.job import (
    CaseJob,
    CohortJob,
    FileJob,
    FollowUpJob,
    MeasureJob,
    PartsJob,
    PlanJob,
    RelabelJob,
    ResegmentJob,
    read_job,
)

if TYPE_CHECKING:
    from spinemamba.jobs.cohort_case import CohortCase

HEARTBEAT_S = 2.0
_PIPELINE = "--pipeline"

Runner = Callable[..., object]


class Channel:
    """Connection to the parent process: sends events, and receives its requests."""

    def __init__(self, out: TextIO):
        self._out = out
        self._lock = threading.Lock()
        self._last = events.Progress("read", 0.0, 0.0)
        self._ended = False
        self._jobs: queue.Queue[Path | None] = queue.Queue()
        self.cancelled = threading.Event()

    def send(self, event: events.Event) -> None:
        """Send one event; if the parent has ended, cancel.

        Nothing is sent after `Finished` or `Failed`, not even a heartbeat.
        """
        with self._lock:
            self._send(event)

    def progress(self, stage: str, fraction: float, job: str = "") -> None:
        """Report progress; raise `Cancelled` if the parent has asked to cancel.

        Args:
            stage: As in `Progress`.
            fraction: As in `Progress`.
            job: Path of job.json if several jobs are in progress.
        """
        if self.cancelled.is_set():
            raise Cancelled
        event = events.Progress(stage, fraction, overall_fraction(stage, fraction), job)
        with self._lock:
            self._last = event
            self._send(event)

    def warn(self, message: str) -> None:
        """Send a warning to the user."""
        self.send(events.Warning(message))

    def next_job(self) -> Path | None:
        """Wait for the next job; return None if there is none."""
        path = self._jobs.get()
        with self._lock:
            self._last = events.Progress("read", 0.0, 0.0)
            self._ended = False
        return path

    def listen(self) -> None:
        """Wait for requests until the one to cancel; runs in its own thread."""
        try:
            self._listen()
        finally:
            self._close()

    def beat(self) -> None:
        """Send a heartbeat during long steps; runs in its own thread."""
        try:
            while not self.cancelled.wait(HEARTBEAT_S):
                with self._lock:
                    self._send(self._last)
        finally:
            self._close()

    def _listen(self) -> None:
        # os.read, because the lock of sys.stdin makes Python abort at a normal exit.
        pending = b""
        # Without a readable stdin the run could not be cancelled, so it counts as closed.
        with contextlib.suppress(OSError):
            while data := os.read(0, 4096):
                *lines, pending = (pending + data).split(b"\n")
                requests = [_request(line) for line in lines]
                if {"cmd": "cancel"} in requests:
                    break
                for request in requests:
                    if request.get("cmd") == "run":
                        self._jobs.put(Path(str(request.get("job"))))

    def _close(self) -> None:
        """Cancel, and let nothing wait for further jobs: no process goes on without its threads."""
        self.cancelled.set()
        self._jobs.put(None)

    def _send(self, event: events.Event) -> None:
        if self._ended:
            return
        # An event with a job ends that job only.
        self._ended = isinstance(event, events.Finished | events.Failed) and not event.job
        try:
            self._out.write(events.to_line(event))
            self._out.flush()
        except OSError:
            self.cancelled.set()


def _request(line: bytes) -> dict[str, object]:
    """Return the request in a line; empty if it is none."""
    try:
        request = json.loads(line)
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


def main(
    argv: Sequence[str] | None = None, run: Runner | None = None, grace_s: float = events.GRACE_S
) -> int:
    """Run the job in the file given as first argument; return the exit code.

    Args:
        argv: Arguments without the program name: job.json, or "--stay" and job.json.
        run: Function that runs the job; None to select it by the kind of job.
        grace_s: Time in seconds for the job to stop after a request to cancel.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    channel = Channel(_take_stdout())
    # Write a traceback to the log if C code crashes.
    faulthandler.enable()
    use_agg_backend()
    channel.send(events.Hello(events.PROTOCOL, __version__, os.getpid()))
    for target in (channel.listen, channel.beat):
        threading.Thread(target=target, daemon=True).start()
    stays = arguments[:1] == ["--stay"]
    if arguments[:1] == [_PIPELINE]:
        return _run_pipeline(arguments[1:], channel, grace_s)
    files = arguments[1:] if stays else arguments
    code = _attempt(files, channel, run or _run_job, grace_s)
    # After an unexpected error, the process may be in any state.
    while stays and code != ExitCode.BUG and (path := channel.next_job()) is not None:
        code = _attempt([str(path)], channel, run or _run_job, grace_s)
    return code


def _attempt(files: Sequence[str], channel: Channel, run: Runner, grace_s: float) -> int:
    """Run one job, send its last event, and return its exit code."""
    try:
        if len(files) != 1:
            raise UserError("The worker needs one argument: job.json.", "Start it from the panel.")
        job = read_job(Path(files[0]))
        _watch(channel, grace_s, job.remove_partial)
        return _work(job, channel, run)
    except Cancelled:
        return ExitCode.CANCELLED
    # Last resort: every error must reach the panel as an event.
    except Exception as error:
        return _send_failure(error, channel)


def _send_failure(error: Exception, channel: Channel, job: str = "") -> int:
    """Send the event for an error; return the exit code."""
    if isinstance(error, UserError):
        channel.send(events.Failed(error.code.value, error.message, error.remedy, job))
        return ExitCode.USER_ERROR
    sys.stderr.write(stack_of(error))
    if (known := as_user_error(error)) is not None:
        channel.send(events.Failed(known.code.value, known.message, known.remedy, job))
        return ExitCode.USER_ERROR
    message = "Something went wrong inside SpineMamba."
    channel.send(events.Failed(Code.INTERNAL.value, message, "Report it with the log.", job))
    return ExitCode.BUG


class _ProcessMustEndError(Exception):
    """An unexpected error was reported; the process may be in any state."""


@dataclass
class _Cases:
    """The cases of a cohort that the parent sends.

    Each case ends with one event, or the process ends: the parent waits for either.

    Attributes:
        channel: Connection to the parent.
        given: Files of the jobs in the arguments, not yet started.
        code: Exit code.
        last: The last case. Partial files of all cases are in the same folder.
    """

    channel: Channel
    given: list[str]
    code: int = ExitCode.DONE
    last: CohortJob | None = None

    def next_case(self) -> CohortCase | None:
        """Wait for the next case; return None if there is none."""
        while True:
            path = Path(self.given.pop(0)) if self.given else self.channel.next_job()
            if path is None:
                return None
            try:
                return self._case(path)
            # Last resort: every error must reach the parent as an event.
            except Exception as error:
                self._fail(error, str(path))

    def _case(self, path: Path) -> CohortCase:
        from spinemamba.jobs.cohort_case import CohortCase

        job, name = read_job(path), str(path)
        if not isinstance(job, CohortJob):
            raise UserError("This is not a case of a cohort.", "Start it from the shell.")
        self.last = job
        return CohortCase(job, partial(self.channel.progress, job=name), name)

    def attempt(self, case: CohortCase, stage: str, work: Callable[[], None]) -> bool:
        """Run a stage of a case and send its events; return whether the next stage may follow."""
        try:
            work()
        # Last resort: every error must reach the parent as an event.
        except Exception as error:
            if isinstance(error, Cancelled) and self.channel.cancelled.is_set():
                self.code = ExitCode.CANCELLED
            else:
                self._fail(error, case.name)
            return False
        if stage == "write":
            finished = events.Finished(str(case.job.output), "", case.seconds, case.name)
            self.channel.send(finished)
        return True

    def _fail(self, error: Exception, name: str) -> None:
        """Send the event of a case that failed.

        Raises:
            _ProcessMustEndError: After an unexpected error.
        """
        self.code = _send_failure(error, self.channel, name)
        if self.code == ExitCode.BUG:
            raise _ProcessMustEndError

    def remove_partial(self, pid: int) -> None:
        """Delete what this process has not finished."""
        if self.last is not None:
            self.last.remove_partial(pid)


def _run_pipeline(files: list[str], channel: Channel, grace_s: float) -> int:
    """Run cases of a cohort until stdin closes, or an unexpected error; return the exit code."""
    cases = _Cases(channel, files)
    _watch(channel, grace_s, cases.remove_partial)
    try:
        from spinemamba.common.process_tuning import keep_freed_memory, use_passive_waiting

        use_passive_waiting()
        keep_freed_memory()
        from spinemamba.jobs.pipeline import run_pipeline

        run_pipeline(cases.next_case, cases.attempt)
    except _ProcessMustEndError:
        return ExitCode.BUG
    # Also SystemExit of a library: the process must not wait for its other threads.
    except BaseException as error:
        sys.stderr.write(stack_of(error))
        return ExitCode.BUG
    return ExitCode.CANCELLED if channel.cancelled.is_set() else cases.code


def _watch(channel: Channel, grace_s: float, remove_partial: Callable[[int], None]) -> None:
    """Start a thread that ends the process if it has not stopped some time after a request.

    Args:
        channel: Connection to the parent.
        grace_s: That time in seconds.
        remove_partial: Deletes the partial files of a process.
    """

    def end() -> None:
        channel.cancelled.wait()
        time.sleep(grace_s)
        try:
            remove_partial(os.getpid())
        finally:
            os._exit(ExitCode.CANCELLED)

    threading.Thread(target=end, daemon=True).start()


def _work(job: FileJob, channel: Channel, run: Runner) -> int:
    started = time.monotonic()
    run(job, channel.progress, channel.warn)
    seconds = round(time.monotonic() - started, 1)
    result = "" if job.result is None else str(job.result)
    channel.send(events.Finished(str(job.output), result, seconds))
    return ExitCode.DONE


_WITHOUT_NETWORK = {
    CaseJob: ("export_case", "write_case"),
    MeasureJob: ("measure", "run_measure"),
    FollowUpJob: ("follow_up", "run_follow_up"),
    PartsJob: ("parts", "run_parts"),
    PlanJob: ("plan", "run_plan"),
}
"""Module in `jobs` and function of each job that needs no network and gives no warning."""


def _run_job(
    job: FileJob, progress: Callable[[str, float], None], warn: Callable[[str], None]
) -> None:
    if without_network := _WITHOUT_NETWORK.get(type(job)):
        module, name = without_network
        getattr(importlib.import_module(f"spinemamba.jobs.{module}"), name)(job, progress)
        return
    if isinstance(job, RelabelJob):
        from spinemamba.jobs.relabel import run_relabel

        run_relabel(job, progress, warn)
        return
    from spinemamba.common.process_tuning import keep_freed_memory, use_passive_waiting

    use_passive_waiting()
    keep_freed_memory()
    if isinstance(job, ResegmentJob):
        from spinemamba.jobs.resegment import run_resegmentation

        run_resegmentation(job, progress, warn)
        return
    from spinemamba.jobs.segment import run_job

    run_job(job, progress, warn)


def _take_stdout() -> TextIO:
    """Return a private copy of stdout for events; redirect stdout to stderr, also for C code."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


if __name__ == "__main__":
    # A cohort has no Slicer beside it.
    if _PIPELINE not in sys.argv:
        lower_priority()
    code = main()
    # Under some launchers, the thread that reads stdin would block a normal exit.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
