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
    MeasureJob,
    PlanJob,
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
        self.cancelled.set()
        self._jobs.put(None)

    def beat(self) -> None:
        """Send a heartbeat during long steps; runs in its own thread."""
        while not self.cancelled.wait(HEARTBEAT_S):
            with self._lock:
                self._send(self._last)

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
        threading.Thread(target=_force_exit, args=(job, channel, grace_s), daemon=True).start()
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


@dataclass
class _Cases:
    """The cases of a cohort that the parent sends.

    Attributes:
        channel: Connection to the parent.
        given: Files of the jobs in the arguments, not yet started.
        grace_s: Time in seconds to stop after a request to cancel.
        code: Exit code; after an unexpected error, no further case is started.
        is_watched: Whether a thread waits for a request to cancel; partial files of all cases are
            in the same folder, so that one thread suffices.
    """

    channel: Channel
    given: list[str]
    grace_s: float
    code: int = ExitCode.DONE
    is_watched: bool = False

    def next_case(self) -> CohortCase | None:
        """Wait for the next case; return None if there is none."""
        from spinemamba.jobs.cohort_case import CohortCase

        while self.code != ExitCode.BUG:
            path = Path(self.given.pop(0)) if self.given else self.channel.next_job()
            if path is None:
                break
            name = str(path)
            try:
                job = read_job(path)
                if not isinstance(job, CohortJob):
                    raise UserError("This is not a case of a cohort.", "Start it from the shell.")
            except UserError as error:
                _send_failure(error, self.channel, name)
                continue
            if not self.is_watched:
                self.is_watched = True
                arguments = (job, self.channel, self.grace_s)
                threading.Thread(target=_force_exit, args=arguments, daemon=True).start()
            return CohortCase(job, partial(self.channel.progress, job=name), name)
        return None

    def attempt(self, case: CohortCase, stage: str, work: Callable[[], None]) -> bool:
        """Run a stage of a case and send its events; return whether the next stage may follow."""
        if self.code == ExitCode.BUG:
            return False
        try:
            work()
        except Cancelled:
            self.code = ExitCode.CANCELLED
            return False
        # Last resort: every error must reach the parent as an event.
        except Exception as error:
            self.code = _send_failure(error, self.channel, case.name)
            return False
        if stage == "write":
            finished = events.Finished(str(case.job.output), "", case.seconds, case.name)
            self.channel.send(finished)
        return True


def _run_pipeline(files: list[str], channel: Channel, grace_s: float) -> int:
    """Run cases of a cohort until stdin closes; return the exit code."""
    from spinemamba.common.process_tuning import keep_freed_memory, use_passive_waiting

    use_passive_waiting()
    keep_freed_memory()
    from spinemamba.jobs.pipeline import run_pipeline

    cases = _Cases(channel, files, grace_s)
    run_pipeline(cases.next_case, cases.attempt)
    return ExitCode.CANCELLED if channel.cancelled.is_set() else cases.code


def _force_exit(job: FileJob, channel: Channel, grace_s: float) -> None:
    """Exit if a cancelled job does not stop in time; runs in its own thread."""
    channel.cancelled.wait()
    time.sleep(grace_s)
    job.remove_partial(os.getpid())
    os._exit(ExitCode.CANCELLED)


def _work(job: FileJob, channel: Channel, run: Runner) -> int:
    started = time.monotonic()
    run(job, channel.progress, channel.warn)
    seconds = round(time.monotonic() - started, 1)
    result = "" if job.result is None else str(job.result)
    channel.send(events.Finished(str(job.output), result, seconds))
    return ExitCode.DONE


def _run_job(
    job: FileJob, progress: Callable[[str, float], None], warn: Callable[[str], None]
) -> None:
    if isinstance(job, CaseJob):
        from spinemamba.jobs.export_case import write_case

        write_case(job, progress)
        return
    if isinstance(job, MeasureJob):
        from spinemamba.jobs.measure import run_measure

        run_measure(job, progress)
        return
    if isinstance(job, PlanJob):
        from spinemamba.jobs.plan import run_plan

        run_plan(job, progress)
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
