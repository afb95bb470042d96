"""One job in the memory of the server."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from spinemamba.protocol import events
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
    ResultFile,
)
from spinemamba.protocol.remote.server_info import ServerLimits
from spinemamba.server.job_folder import JobFolder
from spinemamba.server.job_store import JobRow

_MOST_WARNINGS = 50
_LEAST_SHARE = 0.05
"""Share of a job that must have been done while it was watched, before its time is estimated."""

_POLL_S = {QUEUED: 2.0, RUNNING: 1.0}
"""Time until the next poll; a job that has ended does not change any more."""


@dataclass
class Job:
    """A job.

    Attributes:
        id: Random id.
        client: Name of its token.
        kind: Kind of its request.
        request: Its request; None once it is erased.
        folder: Its folder.
        sent_bytes: Size of its request.
        request_id: Random number of the client; may be empty.
        created_s: Time when it was accepted, in seconds since 1970.
        state: State, as in `formats.JobState`.
        attempt: How often it was started.
        progress: Last progress of the worker; None before.
        warnings: Warnings of the worker.
        failure: Why it failed.
        files: Files of its result.
        device: Device.
        started: Time of the start on the monotonic clock.
        worked: Time at which reading was over, and the share that was done then. Libraries are
            loaded before, which says nothing about the time of the networks.
        ended_s: Time of the end, in seconds since 1970; 0 before.
        fetched_s: Time when its result was fetched; 0 before.
        is_cancelled: Set to ask the thread of the device to stop it.
        is_over: Set when no process works on it any more.
        is_expired: Whether its files are being erased, or are.
        readers: Answers that are sending its result now.
    """

    id: str
    client: str
    kind: str
    request: JobRequest | None
    folder: JobFolder
    sent_bytes: int
    request_id: str = ""
    created_s: float = field(default_factory=time.time)
    state: str = QUEUED
    attempt: int = 0
    progress: events.Progress | None = None
    warnings: list[str] = field(default_factory=list)
    failure: JobFailure | None = None
    files: tuple[ResultFile, ...] = ()
    device: str = ""
    started: float = 0.0
    worked: tuple[float, float] | None = None
    ended_s: float = 0.0
    fetched_s: float = 0.0
    is_cancelled: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)
    is_expired: bool = False
    readers: int = 0

    def result_path(self, file: ResultFile) -> Path:
        """Return the path of a file of the result."""
        return self.folder.result_path(self.attempt, file.role, file.ending)

    def take_event(self, event: events.Event) -> None:
        """Note progress or a warning of the worker."""
        if isinstance(event, events.Progress):
            self.progress = event
            if self.worked is None and event.stage != "read":
                self.worked = time.monotonic(), event.overall
        elif isinstance(event, events.Warning) and len(self.warnings) < _MOST_WARNINGS:
            self.warnings.append(event.message)

    def expires_s(self, limits: ServerLimits, now_s: float) -> float | None:
        """Return the time until its files are erased; None before the end."""
        if self.state not in (DONE, FAILED):
            return None
        end_s = self.ended_s + limits.keep_s
        if self.fetched_s:
            end_s = min(end_s, self.fetched_s + limits.keep_fetched_s)
        return max(0.0, end_s - now_s)

    def view(self, limits: ServerLimits, place: int, usual_s: float | None) -> JobState:
        """Return the state for the client.

        Args:
            limits: Limits of the server.
            place: Place in line; 0 if it is not queued.
            usual_s: Time until a job at this place is done, by recent jobs; None if unknown.
        """
        runs = self.state == RUNNING
        progress = self.progress if runs else None
        return JobState(
            id=self.id,
            kind=self.kind,
            state=self.state,
            place=place,
            stage=progress.stage if progress else "",
            fraction=_share(progress.fraction) if progress else 0.0,
            overall=_share(progress.overall) if progress else float(self.state == DONE),
            remaining_s=self._remaining_s(usual_s),
            warnings=tuple(self.warnings),
            failure=self.failure,
            files=self.files if self.state == DONE else (),
            device=self.device,
            expires_s=self.expires_s(limits, time.time()),
            poll_s=_POLL_S.get(self.state, 10.0),
        )

    def row(self) -> JobRow:
        """Return the row for the list on disk."""
        return JobRow(
            self.id,
            self.client,
            self.kind,
            self.request_id,
            self.state,
            self.attempt,
            self.sent_bytes,
            self.created_s,
            self.ended_s,
            self.fetched_s,
        )

    def _remaining_s(self, usual_s: float | None) -> float | None:
        if self.state in ENDED:
            return 0.0 if self.state in (DONE, ERASED) else None
        if self.state == RUNNING and self.progress and self.worked:
            start_s, before = self.worked
            share = self.progress.overall - before
            if share >= _LEAST_SHARE:
                return (time.monotonic() - start_s) * (1 - self.progress.overall) / share
        return usual_s


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
