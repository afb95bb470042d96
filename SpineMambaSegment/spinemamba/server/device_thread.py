"""One thread per device: takes jobs, and runs them in a worker process."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
import time
from pathlib import Path

from spinemamba.common.atomic_files import NO_ROOM
from spinemamba.common.errors import Code
from spinemamba.protocol import events
from spinemamba.protocol.job import FileJob
from spinemamba.protocol.model_card import DEFAULT
from spinemamba.protocol.remote.formats import JobFailure
from spinemamba.protocol.worker_client import WorkerProcess
from spinemamba.server.job import Job
from spinemamba.server.jobs import Jobs
from spinemamba.server.settings import Settings

_TICK_S = 0.05
_JOBS_PER_WORKER = 50
"""Then a new process is started, whose log is empty and whose memory is not fragmented."""


class DeviceThread(threading.Thread):
    """Runs jobs on one device, one after the other.

    The worker process stays for the next job, because importing its libraries takes seconds. After
    a crash, a cancelled job or an error of the program, the next job gets a new process.

    Args:
        device: Device, such as "cuda:0".
        jobs: All jobs.
        settings: Settings of the server.
    """

    def __init__(self, device: str, jobs: Jobs, settings: Settings):
        super().__init__(name=f"device {device}", daemon=True)
        self._device, self._jobs, self._settings = device, jobs, settings
        self._worker: WorkerProcess | None = None
        self._folder: Path | None = None
        self._count = 0

    def run(self) -> None:
        """Take jobs until the server stops."""
        try:
            while (job := self._jobs.take(self._device)) is not None:
                self._attempt(job)
        finally:
            self._end_worker()

    def _attempt(self, job: Job) -> None:
        """Run a job to its end; an error of the program must not end the thread."""
        try:
            failure = self._run(job)
            if failure is None and not job.is_cancelled.is_set():
                job.files = job.folder.result_files(job.request, job.attempt)
        # Last resort: the other jobs go on, and this one is reported as failed.
        except Exception as error:
            self._end_worker()
            failure = _failure_of(error)
        if job.is_cancelled.is_set():
            self._jobs.stopped(job)
        elif self._jobs.is_closed and failure is _STOPPED:
            self._jobs.put_back(job)
        else:
            self._jobs.finish(job, failure)

    def _run(self, job: Job) -> JobFailure | None:
        """Run a job in the worker; return why it failed."""
        model = self._settings.models.get(getattr(job.request, "model", DEFAULT), DEFAULT)
        self._start(job.folder.worker_job(job.request, job.attempt, model, self._device))
        timeouts = self._settings.timeouts
        end_s = time.monotonic() + timeouts.job_s
        heard_s = time.monotonic()
        while True:
            for event in self._worker.new_events():
                heard_s = time.monotonic()
                job.take_event(event)
                if isinstance(event, events.Finished | events.Failed):
                    return self._ended(event)
            now_s = time.monotonic()
            if job.is_cancelled.is_set() or self._jobs.is_closed:
                self._end_worker()
                return _STOPPED
            if now_s > end_s or now_s - heard_s > timeouts.silent_s:
                self._end_worker()
                return _TOO_LONG if now_s > end_s else _SILENT
            job.is_cancelled.wait(_TICK_S)

    def _start(self, job: FileJob) -> None:
        """Send a job to the worker that stays, or start one."""
        self._count += 1
        if self._settings.fresh_workers or self._count > _JOBS_PER_WORKER:
            self._end_worker()
        if self._worker is not None and self._worker.is_running():
            # It may have been killed while it waited.
            with contextlib.suppress(OSError):
                self._worker.run(job)
                return
        self._end_worker()
        self._folder = self._settings.folder / "workers" / secrets.token_hex(8)
        self._folder.mkdir(0o700, parents=True)
        self._count = 1
        self._worker = WorkerProcess.start(job, self._folder, self._settings.python, stays=True)

    def _ended(self, event: events.Finished | events.Failed) -> JobFailure | None:
        if isinstance(event, events.Finished):
            return None
        # Of a process in an unknown state, no further job is expected.
        if event.code in (Code.CRASH.value, Code.INTERNAL.value):
            self._end_worker()
        if event.code == Code.CRASH.value:
            return _CRASHED
        if event.code == Code.INTERNAL.value:
            return _INTERNAL
        return JobFailure(event.code, event.message, event.remedy)

    def _end_worker(self) -> None:
        """Kill the worker with all its processes, and erase its log."""
        worker, self._worker = self._worker, None
        if worker is not None:
            with contextlib.suppress(OSError):
                worker.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


_ASK = "Send it again; if it happens again, tell the administrator of the server."
_STOPPED = JobFailure(Code.CANCELLED.value, "The server stops.", "Wait until it runs again.")
_TOO_LONG = JobFailure(
    Code.CRASH.value, "The job took longer than this server allows.", "Crop the image to the spine."
)
_SILENT = JobFailure(Code.CRASH.value, "The process of this job did not answer any more.", _ASK)
_CRASHED = JobFailure(
    Code.CRASH.value, "The process of this job ended without a result; only this job is lost.", _ASK
)
_INTERNAL = JobFailure(Code.INTERNAL.value, "Something went wrong inside SpineMamba.", _ASK)


def _failure_of(error: Exception) -> JobFailure:
    """Return why the server itself could not run a job."""
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        message = f"The server could not run the job: {reason}."
        code = Code.DISK_FULL if error.errno in NO_ROOM else Code.OUTPUT_BAD
        return JobFailure(code.value, message, _ASK)
    return _INTERNAL
