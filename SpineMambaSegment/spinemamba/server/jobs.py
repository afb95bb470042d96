"""All jobs of the server: accepted, in line, running, and kept until they are fetched."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator

from spinemamba.protocol.remote.formats import (
    DONE,
    ENDED,
    ERASED,
    FAILED,
    QUEUED,
    RUNNING,
    JobFailure,
    JobRequest,
    JobState,
)
from spinemamba.server.audit import AuditLog
from spinemamba.server.errors import RefusedError, disk_full, no_such_job
from spinemamba.server.fair_queue import FairQueue
from spinemamba.server.job import Job
from spinemamba.server.job_folder import JobFolder
from spinemamba.server.job_store import JobStore
from spinemamba.server.metrics import Metrics
from spinemamba.server.recovery import recovered_job
from spinemamba.server.settings import Settings

_REMEMBERED_S = 24 * 3600.0
"""Time after which nothing is known of an erased job."""

_STOP_S = 15.0
"""Longest wait for the end of the process of a cancelled job."""

_ESTIMATED_FROM = 10
"""Recent jobs whose mean time is that of the next."""


class Jobs:
    """The jobs; usable from several threads.

    Args:
        settings: Settings of the server.
        audit: The audit log.
        metrics: Counters.

    Raises:
        sqlite3.Error, OSError: If the folder of the server cannot be used.
    """

    def __init__(self, settings: Settings, audit: AuditLog, metrics: Metrics):
        self._settings, self._audit, self._metrics = settings, audit, metrics
        self._folder = settings.folder / "jobs"
        self._incoming = settings.folder / "incoming"
        for folder in (self._folder, self._incoming):
            folder.mkdir(0o700, exist_ok=True)
        self._changed = threading.Condition(threading.RLock())
        self._queue = FairQueue()
        self._jobs: dict[str, Job] = {}
        self._seconds: deque[float] = deque(maxlen=_ESTIMATED_FROM)
        self._receiving: dict[str, int] = {}
        self._is_closed = False
        self._store = JobStore(settings.folder / "jobs.sqlite")
        self._recover()

    def new_folder(self) -> JobFolder:
        """Return the folder of an upload; its name is the id of the job."""
        return JobFolder(self._incoming / secrets.token_hex(16))

    @contextlib.contextmanager
    def receiving(self, client: str) -> Iterator[None]:
        """Hold a place for an upload while it arrives.

        Raises:
            RefusedError: If the line is full (BUSY), or the client has too many jobs (TOO_MANY).
        """
        limits, rates = self._settings.limits, self._settings.rates
        with self._changed:
            uploads = self._receiving.get(client, 0)
            own = sum(j.client == client and j.state != ERASED for j in self._jobs.values())
            if uploads >= rates.uploads or own + uploads >= limits.jobs_per_client:
                raise RefusedError(
                    "TOO_MANY",
                    f"This token has {own} jobs and {uploads} uploads on the server.",
                    "Wait for them, fetch their results, or cancel some.",
                    retry_s=10.0,
                )
            if len(self._queue) + sum(self._receiving.values()) >= limits.queued:
                raise RefusedError(
                    "BUSY",
                    f"The line of the server is full ({limits.queued} jobs).",
                    "Try again later.",
                    retry_s=30.0,
                )
            self._receiving[client] = uploads + 1
        try:
            yield
        finally:
            with self._changed:
                self._receiving[client] -= 1
                if not self._receiving[client]:
                    del self._receiving[client]

    def same_request(self, client: str, request_id: str) -> Job | None:
        """Return the job of a request that was sent before; None if there is none."""
        with self._changed:
            return next(
                (
                    job
                    for job in self._jobs.values()
                    if request_id and job.client == client and job.request_id == request_id
                ),
                None,
            )

    def add(self, client: str, request: JobRequest, folder: JobFolder, sent_bytes: int) -> Job:
        """Accept a job whose files are complete; its folder is moved.

        Raises:
            RefusedError: If the disk is full (DISK_FULL).
        """
        name = folder.path.name
        place = JobFolder(self._folder / name)
        job = Job(name, client, request.KIND, request, place, sent_bytes, request.request_id)
        try:
            folder.write_request(request)
            folder.path.rename(job.folder.path)
            self._store.put(job.row())
        except (OSError, sqlite3.Error) as error:
            job.folder.erase()
            raise disk_full() from error
        with self._changed:
            if again := self.same_request(client, request.request_id):
                self._store.remove(job.id)
                job.folder.erase()
                return again
            self._jobs[job.id] = job
            self._queue.add(client, job.id)
            self._changed.notify()
        self._metrics.count("accepted")
        self._audit.add("accepted", client, job=job.id, kind=request.KIND, bytes=sent_bytes)
        return job

    def get(self, client: str, job_id: str) -> Job:
        """Return a job of a client.

        Raises:
            RefusedError: If the client has no such job (NOT_FOUND).
        """
        with self._changed:
            job = self._jobs.get(job_id)
            if job is None or job.client != client or job.is_cancelled.is_set():
                raise no_such_job()
            return job

    def view(self, job: Job) -> JobState:
        """Return the state of a job for its client."""
        with self._changed:
            place = self._queue.places().get(job.id, 0)
            return job.view(self._settings.limits, place, self._usual_s(place))

    def counts(self) -> tuple[int, int]:
        """Return how many jobs are in line, and how many run."""
        with self._changed:
            return len(self._queue), sum(j.state == RUNNING for j in self._jobs.values())

    def take(self, device: str) -> Job | None:
        """Wait for the next job and start it; return None when the server stops."""
        with self._changed:
            while not self._is_closed and not len(self._queue):
                self._changed.wait()
            if self._is_closed:
                return None
            job = self._jobs[self._queue.take()]
            job.state, job.device, job.started = RUNNING, device, time.monotonic()
            job.progress, job.worked = None, None
            job.attempt += 1
        self._save(job)
        self._audit.add("started", job.client, job=job.id, device=device)
        return job

    def finish(self, job: Job, failure: JobFailure | None) -> None:
        """Note the end of a job that was not cancelled; its thread has stopped working on it.

        Args:
            job: The job, with `files` if it was done.
            failure: Why it failed; None if it is done.
        """
        seconds = time.monotonic() - job.started
        job.folder.erase_sent()
        with self._changed:
            job.failure, job.ended_s = failure, time.time()
            job.state = DONE if failure is None else FAILED
            if failure is None:
                self._seconds.append(seconds)
            state = job.view(self._settings.limits, 0, None)
        job.folder.write_state(state)
        self._save(job)
        outcome = "done" if failure is None else "failed"
        self._metrics.ended(outcome, seconds)
        code = {} if failure is None else {"code": failure.code}
        self._audit.add(outcome, job.client, job=job.id, seconds=round(seconds, 1), **code)
        job.is_over.set()

    def stopped(self, job: Job) -> None:
        """Note that the process of a cancelled job has ended."""
        job.is_over.set()

    def put_back(self, job: Job) -> None:
        """Put a job back into the line on disk, because the server stops."""
        job.state, job.attempt = QUEUED, job.attempt - 1
        self._save(job)
        job.is_over.set()

    def cancel(self, job: Job) -> None:
        """Stop a job, and erase it; return when its process has ended."""
        with self._changed:
            job.is_cancelled.set()
            if self._queue.remove(job.id) or job.state in ENDED:
                job.is_over.set()
        job.is_over.wait(_STOP_S)
        self._forget(job)
        self._metrics.count("cancelled")
        self._audit.add("erased", job.client, job=job.id)

    @contextlib.contextmanager
    def reading(self, job: Job) -> Iterator[None]:
        """Protect the result of a job from being erased while it is sent.

        Raises:
            RefusedError: If it is not done (NOT_READY), or is erased (ERASED).
        """
        with self._changed:
            if job.state == ERASED or job.is_expired:
                raise RefusedError(
                    "ERASED", "The result was erased.", "Send the job again, and fetch it in time."
                )
            if job.state != DONE:
                raise RefusedError(
                    "NOT_READY",
                    f"The job is {job.state}, it has no result.",
                    "Ask for its state first.",
                )
            job.readers += 1
        try:
            yield
        finally:
            with self._changed:
                job.readers -= 1

    def fetched(self, job: Job) -> None:
        """Note that a whole result was sent."""
        with self._changed:
            job.fetched_s = job.fetched_s or time.time()
        self._save(job)
        self._metrics.count("fetched")
        self._audit.add("fetched", job.client, job=job.id, bytes=sum(f.bytes for f in job.files))

    def expire(self) -> None:
        """Erase results that were fetched or kept long enough, and forget old jobs."""
        now_s = time.time()
        with self._changed:
            jobs = list(self._jobs.values())
        for job in jobs:
            with self._changed:
                due = job.expires_s(self._settings.limits, now_s) == 0.0 and not job.readers
                job.is_expired |= due
            if due:
                job.folder.erase()
                with self._changed:
                    job.state, job.files, job.warnings = ERASED, (), []
                self._save(job)
                self._audit.add("expired", job.client, job=job.id)
            elif job.state == ERASED and now_s - job.ended_s > _REMEMBERED_S:
                self._forget(job)

    def close(self) -> None:
        """Let the threads of the devices end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether the server stops."""
        return self._is_closed

    def close_store(self) -> None:
        """Close the list on disk, after the threads of the devices have ended."""
        self._store.close()

    def _usual_s(self, place: int) -> float | None:
        if not self._seconds:
            return None
        mean_s = sum(self._seconds) / len(self._seconds)
        return mean_s * (1 + (max(0, place - 1)) / len(self._settings.devices))

    def _save(self, job: Job) -> None:
        """Write the row of a job; a full disk must not stop its thread."""
        with contextlib.suppress(sqlite3.Error):
            self._store.put(job.row())
            # Another thread may have erased the job meanwhile.
            if job.id not in self._jobs:
                self._store.remove(job.id)

    def _forget(self, job: Job) -> None:
        with self._changed:
            self._jobs.pop(job.id, None)
        job.folder.erase()
        with contextlib.suppress(sqlite3.Error):
            self._store.remove(job.id)

    def _recover(self) -> None:
        """Take over the jobs of an earlier process of the server."""
        for path in self._incoming.iterdir():
            JobFolder(path).erase()
        known = set()
        for row in self._store.rows():
            known.add(row.id)
            job = recovered_job(row, JobFolder(self._folder / row.id))
            self._jobs[job.id] = job
            if job.state == QUEUED:
                self._queue.add(job.client, job.id)
            if job.row() != row:
                self._save(job)
                self._audit.add(f"restart: {job.state}", job.client, job=job.id)
        for path in self._folder.iterdir():
            if path.name not in known:
                JobFolder(path).erase()
