"""Take over a job of an earlier process of the server, which may have been killed."""

from __future__ import annotations

import contextlib
import time

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.remote.formats import (
    DONE,
    ERASED,
    FAILED,
    QUEUED,
    RUNNING,
    JobFailure,
    JobState,
    SentFile,
)
from spinemamba.server.job import Job
from spinemamba.server.job_folder import JobFolder
from spinemamba.server.job_store import JobRow

MOST_ATTEMPTS = 2
"""Starts of a job. One during which the server was killed twice may be the reason."""

_LOST = JobFailure(
    Code.CRASH.value,
    "The server was restarted, and this job was lost.",
    "Send it again.",
)
_TWICE = JobFailure(
    Code.CRASH.value,
    f"The server ended {MOST_ATTEMPTS} times while this job ran.",
    "Do not send it again as it is; tell the administrator of the server.",
)


def recovered_job(row: JobRow, folder: JobFolder) -> Job:
    """Return a job as it is after a restart.

    A job that was in line or ran is in line again, because the files that were sent are complete.

    Args:
        row: Its row in the list on disk.
        folder: Its folder, which may be missing.
    """
    job = Job(row.id, row.client, row.kind, None, folder, row.sent_bytes, row.request_id)
    job.created_s, job.ended_s, job.fetched_s = row.created_s, row.ended_s, row.fetched_s
    job.state, job.attempt = row.state, row.attempt
    if job.state == ERASED:
        folder.erase()
        return job
    with contextlib.suppress(UserError):
        job.request = folder.read_request()
    if job.state in (QUEUED, RUNNING):
        return _in_line(job)
    last = None
    with contextlib.suppress(UserError):
        last = folder.read_state()
    return _ended(job, last)


def _in_line(job: Job) -> Job:
    has_all = job.request is not None and all(
        _size(job.folder, file) == file.bytes for file in job.request.files
    )
    if has_all and job.attempt < MOST_ATTEMPTS:
        job.state = QUEUED
        return job
    job.state, job.ended_s = FAILED, time.time()
    job.failure = _TWICE if has_all else _LOST
    job.folder.erase_sent()
    return job


def _ended(job: Job, last: JobState | None) -> Job:
    """Take over the result or the failure of a job that had ended."""
    is_whole = last is not None and last.state == job.state
    if is_whole and job.state == DONE:
        is_whole = job.request is not None and all(
            _is_file(job, file.role, file.ending, file.bytes) for file in last.files
        )
    job.is_over.set()
    if not is_whole:
        job.state, job.failure = FAILED, _LOST
        return job
    job.warnings, job.failure, job.device = list(last.warnings), last.failure, last.device
    job.files = last.files
    return job


def _size(folder: JobFolder, file: SentFile) -> int:
    path = folder.sent(file)
    return path.stat().st_size if path.is_file() else -1


def _is_file(job: Job, role: str, ending: str, size: int) -> bool:
    path = job.folder.result_path(job.attempt, role, ending)
    return path.is_file() and path.stat().st_size == size
