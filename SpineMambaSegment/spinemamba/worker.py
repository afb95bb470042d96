"""The background process: ``python -m spinemamba.worker job.json``.

Events go to stdout, one JSON object per line; everything else goes to stderr, which the parent
sends to the log. The parent closes stdin, or writes a line with ``{"cmd": "cancel"}``, to stop
the run, which also happens when the parent dies; work that does not listen is cut off after a
grace period. Exit codes: 0 done, 1 our bug, 2 the user can put it right, 3 cancelled.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from spinemamba import __version__
from spinemamba.common.error_reports import as_user_error, stack_of
from spinemamba.common.errors import Cancelled, Code, UserError
from spinemamba.common.headless import draw_into_files
from spinemamba.common.process_tuning import step_aside
from spinemamba.common.progress import overall_fraction
from spinemamba.protocol import events
from spinemamba.protocol.job import BoxJob, CaseJob, FileJob, MeasureJob, read_job

HEARTBEAT_S = 2.0
GRACE_S = 3.0
DONE, BUG, USER, CANCELLED = 0, 1, 2, 3

Runner = Callable[..., object]


class Channel:
    """The way to the parent: sends events, and knows whether the parent wants to stop."""

    def __init__(self, out: TextIO):
        self._out = out
        self._lock = threading.Lock()
        self._last = events.Progress("read", 0.0, 0.0)
        self._ended = False
        self.cancelled = threading.Event()

    def send(self, event: events.Event) -> None:
        """Send one event; a parent that is gone counts as a wish to stop.

        Nothing follows `Finished` or `Failed`: a late sign of life is not sent.
        """
        with self._lock:
            self._send(event)

    def progress(self, stage: str, fraction: float) -> None:
        """Report progress; raise `Cancelled` if the parent wants to stop."""
        if self.cancelled.is_set():
            raise Cancelled
        event = events.Progress(stage, fraction, overall_fraction(stage, fraction))
        with self._lock:
            self._last = event
            self._send(event)

    def warn(self, message: str) -> None:
        """Tell what the user should know."""
        self.send(events.Warning(message))

    def listen(self) -> None:
        """Wait for the wish to stop; runs in a thread of its own."""
        # os.read, not sys.stdin: its lock makes Python abort when the process ends normally.
        pending = b""
        # A stdin that cannot be read is as good as a closed one: nobody could stop the run.
        with contextlib.suppress(OSError):
            while data := os.read(0, 4096):
                *lines, pending = (pending + data).split(b"\n")
                if any(_is_cancel(line) for line in lines):
                    break
        self.cancelled.set()

    def beat(self) -> None:
        """Show a sign of life while a step takes long; runs in a thread of its own."""
        while not self.cancelled.wait(HEARTBEAT_S):
            with self._lock:
                self._send(self._last)

    def _send(self, event: events.Event) -> None:
        if self._ended:
            return
        self._ended = isinstance(event, events.Finished | events.Failed)
        try:
            self._out.write(events.to_line(event))
            self._out.flush()
        except OSError:
            self.cancelled.set()


def _is_cancel(line: bytes) -> bool:
    try:
        return json.loads(line) == {"cmd": "cancel"}
    except ValueError:
        return False


def main(
    argv: Sequence[str] | None = None, run: Runner | None = None, grace_s: float = GRACE_S
) -> int:
    """Run the job in the file that the first argument names; return the exit code.

    Args:
        argv: Arguments without the program's name.
        run: What does the job; what its kind asks for if None.
        grace_s: Time for the run to notice that it shall stop; then the process is cut off.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    channel = Channel(_take_stdout())
    # A crash in C leaves a traceback in the log.
    faulthandler.enable()
    draw_into_files()
    channel.send(events.Hello(events.PROTOCOL, __version__, os.getpid()))
    for target in (channel.listen, channel.beat):
        threading.Thread(target=target, daemon=True).start()
    try:
        if len(arguments) != 1:
            raise UserError("The worker needs one argument: job.json.", "Start it from the panel.")
        job = read_job(Path(arguments[0]))
        threading.Thread(target=_cut_off, args=(job, channel, grace_s), daemon=True).start()
        return _work(job, channel, run or _run_job)
    except Cancelled:
        return CANCELLED
    except UserError as error:
        channel.send(events.Failed(error.code.value, error.message, error.remedy))
        return USER
    # The last line of defence: whatever went wrong must reach the panel as an event.
    except Exception as error:
        sys.stderr.write(stack_of(error))
        if (told := as_user_error(error)) is not None:
            channel.send(events.Failed(told.code.value, told.message, told.remedy))
            return USER
        channel.send(
            events.Failed(
                Code.INTERNAL.value,
                "Something went wrong inside SpineMamba.",
                "Report it with the log.",
            )
        )
        return BUG


def _cut_off(job: FileJob, channel: Channel, grace_s: float) -> None:
    """End work that does not listen; runs in a thread of its own."""
    channel.cancelled.wait()
    time.sleep(grace_s)
    job.remove_partial(os.getpid())
    os._exit(CANCELLED)


def _work(job: FileJob, channel: Channel, run: Runner) -> int:
    started = time.monotonic()
    run(job, channel.progress, channel.warn)
    seconds = round(time.monotonic() - started, 1)
    result = "" if job.result is None else str(job.result)
    channel.send(events.Finished(str(job.output), result, seconds))
    return DONE


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
    from spinemamba.common.process_tuning import keep_freed_memory, let_idle_threads_sleep

    let_idle_threads_sleep()
    keep_freed_memory()
    if isinstance(job, BoxJob):
        from spinemamba.jobs.resegment import run_box

        run_box(job, progress, warn)
        return
    from spinemamba.jobs.segment import run_job

    run_job(job, progress, warn)


def _take_stdout() -> TextIO:
    """Keep stdout for events; send what anybody else prints there, even in C, to the log."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


if __name__ == "__main__":
    step_aside()
    code = main()
    # Threads that read stdin would hold up a normal end under some launchers.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
