"""A job on a server, from sending its files to writing its results. Standard library only."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from spinemamba.common.atomic_files import all_or_none, ending
from spinemamba.common.errors import Code, UserError
from spinemamba.common.progress import FETCH, SEND, WAIT, Warn
from spinemamba.protocol.job import FileJob, ResegmentJob, SegmentJob
from spinemamba.protocol.remote.formats import (
    DONE,
    ENDED,
    IMAGE,
    IMAGE_ENDINGS,
    LABELS,
    OTHER_RESULT,
    OTHER_SCAN,
    PICTURE,
    QUEUED,
    RESULT,
    Capabilities,
    JobRequest,
    JobState,
    ResegmentRequest,
    SegmentRequest,
    SentFile,
)
from spinemamba.protocol.remote.http_connection import RefusedError, UnreachableError
from spinemamba.protocol.remote.server_client import ServerClient
from spinemamba.protocol.result import RESULT_END

T = TypeVar("T")

SEND_SHARE, FETCH_SHARE = 0.04, 0.04
"""Shares of the transfers in the whole job."""

_LEAST_POLL_S = 0.1


def _unchanged(files: Mapping[str, Path]) -> None:
    """Leave the results as they are."""


class ReportProgress(Protocol):
    """Called often by a remote job."""

    def __call__(self, stage: str, fraction: float, overall: float) -> None:
        """Report progress.

        Args:
            stage: One of `progress.STAGES`, or `SEND`, `WAIT`, `FETCH`.
            fraction: Completed share of the stage.
            overall: Completed share of the whole job.
        """


@dataclass(frozen=True)
class Patience:
    """How a job lasts through an outage of the network.

    Attributes:
        outage_s: Longest outage; after it, the job fails.
        first_s: Wait before the first new attempt; each further wait is twice as long.
        longest_s: Longest wait.
        poll_s: Longest time between two questions for the state, whatever the server proposes.
    """

    outage_s: float = 300.0
    first_s: float = 0.5
    longest_s: float = 5.0
    poll_s: float = 10.0


@dataclass
class RemoteJob:
    """One job on a server; for one thread.

    Attributes:
        client: The server.
        progress: Called often.
        warn: Called with each warning.
        sleep: Waits; may raise `Cancelled`.
        patience: Longest outage.
        amend: Called with the fetched files by role, before they appear under their names.
        where: Server and model in words, with the place in line; empty before it has answered.
        job_id: Id of the job on the server; empty before it was accepted.
    """

    client: ServerClient
    progress: ReportProgress
    warn: Warn
    sleep: Callable[[float], None] = time.sleep
    patience: Patience = field(default_factory=Patience)
    amend: Callable[[Mapping[str, Path]], None] = _unchanged
    where: str = ""
    job_id: str = ""

    def run(self, job: FileJob) -> None:
        """Run a job; write all outputs or none. At the end, the server erases everything of it.

        Args:
            job: Its outputs are written here, its inputs are sent.

        Raises:
            UserError: If the server cannot be reached, refuses the job or fails.
            Cancelled: As ``sleep`` and ``progress``.
        """
        about = self._patiently(self.client.capabilities)
        _check_offer(job, about)
        paths = _files(job)
        request = _request(job, paths)
        _check_size(request, about)
        server = f"{about.server} ({self.client.host})"
        self.where = f"{server}, {_model_words(job, about)}"
        try:
            state = self._sent(request, list(paths.values()))
            self.job_id = state.id
            self._followed(state, self.where)
            self._fetch(job)
        finally:
            self._erase()

    def _sent(self, request: JobRequest, paths: list[Path]) -> JobState:
        self.progress(SEND, 0.0, 0.0)

        def share(fraction: float) -> None:
            self.progress(SEND, fraction, SEND_SHARE * fraction)

        return self._patiently(lambda: self.client.submit(request, paths, share))

    def _followed(self, state: JobState, where: str) -> None:
        """Ask for the state until the job is done.

        Raises:
            UserError: If it fails, or the server has forgotten it.
        """
        told = 0
        while True:
            for text in state.warnings[told:]:
                self.warn(text)
            told = max(told, len(state.warnings))
            if state.state in ENDED:
                break
            if state.state == QUEUED:
                self.where = f"{where}, place {state.place} in line"
                self.progress(WAIT, 0.0, SEND_SHARE)
            else:
                self.where = where
                share = 1 - SEND_SHARE - FETCH_SHARE
                done = SEND_SHARE + share * state.overall
                self.progress(state.stage or WAIT, state.fraction, done)
            self.sleep(min(self.patience.poll_s, max(_LEAST_POLL_S, state.poll_s)))
            state = self._patiently(lambda: self.client.state(self.job_id))
        self.where = where
        if state.failure is not None:
            failure = state.failure
            raise UserError(failure.message, failure.remedy, _code(failure.code))
        if state.state != DONE:
            raise UserError(
                "The server has erased the job.", "Start it again.", Code.SERVER_REFUSED
            )

    def _fetch(self, job: FileJob) -> None:
        targets = _targets(job)
        done = 1 - FETCH_SHARE
        self.progress(FETCH, 0.0, done)

        def share(fraction: float) -> None:
            self.progress(FETCH, fraction, done + FETCH_SHARE * fraction)

        with all_or_none(list(targets.values()), overwrite=job.overwrite) as partial:
            parts = {role: partial[path] for role, path in targets.items()}
            self._patiently(lambda: self.client.fetch(self.job_id, parts, share))
            self.amend(parts)
            # A request to cancel during the last block comes before the results appear.
            self.progress(FETCH, 1.0, 1.0)

    def _erase(self) -> None:
        """Let the server stop the job and erase it; it does so later if it cannot be reached."""
        if self.job_id:
            with contextlib.suppress(UserError):
                self.client.cancel(self.job_id)

    def _patiently(self, action: Callable[[], T]) -> T:
        """Return the result of an action; repeat it during an outage.

        Raises:
            UserError: If the outage lasts too long, or the error does not pass.
        """
        started_s = wait_s = None
        while True:
            try:
                return action()
            except (UnreachableError, RefusedError) as error:
                if isinstance(error, RefusedError) and not error.is_transient:
                    raise
                now_s = time.monotonic()
                if started_s is None:
                    started_s, wait_s = now_s, self.patience.first_s
                    self.warn(f"{error.message} Trying again.")
                # A server that is busy or has locked the client out says how long to wait.
                asked_s = getattr(error, "retry_after_s", None) or 0.0
                if now_s - started_s + asked_s > self.patience.outage_s:
                    raise
            self.sleep(max(asked_s, min(self.patience.longest_s, wait_s)))
            wait_s *= 2


def _check_offer(job: FileJob, about: Capabilities) -> None:
    """Check that a server offers what a job needs.

    Raises:
        UserError: If it does not (SERVER_REFUSED, MODEL_MISSING).
    """
    if job.KIND not in about.kinds:
        raise UserError(
            f"The server {about.server} does not offer this kind of work.",
            "Work on this computer instead.",
            Code.SERVER_REFUSED,
        )
    names = [model.name for model in about.models]
    model = getattr(job, "model", None)
    if model is not None and model not in names:
        raise UserError(
            f"The server {about.server} does not offer the chosen model.",
            f"Choose one of {', '.join(names)}.",
            Code.MODEL_MISSING,
        )


def _check_size(request: JobRequest, about: Capabilities) -> None:
    """Refuse files that are larger than the server accepts, before they are sent.

    Raises:
        UserError: If they are (SERVER_REFUSED).
    """
    total = sum(file.bytes for file in request.files)
    most = about.limits.upload_bytes
    if total > most:
        raise UserError(
            f"The files have {total / 1e6:.0f} MB; the server {about.server} accepts "
            f"{most / 1e6:.0f} MB.",
            "Choose a region, or ask the administrator of the server.",
            Code.SERVER_REFUSED,
        )


def _model_words(job: FileJob, about: Capabilities) -> str:
    """Return title and version of the model that the server uses."""
    name = getattr(job, "model", "")
    found = next((model for model in about.models if model.name == name), None)
    return f"model {found.title} {found.version}" if found else f"version {about.version}"


def _files(job: FileJob) -> dict[str, Path]:
    """Return the files to send, by role.

    Raises:
        UserError: If the format of the image is one that a server does not read.
    """
    if ending(job.input) not in IMAGE_ENDINGS:
        raise UserError(
            f"A server does not read images such as {job.input.suffix or 'this folder'}.",
            f"Convert it to one of {', '.join(IMAGE_ENDINGS)}.",
        )
    files = {IMAGE: job.input}
    if isinstance(job, ResegmentJob) and job.labels is not None:
        files[LABELS] = job.labels
    if isinstance(job, SegmentJob) and job.levels_from is not None:
        files[OTHER_SCAN] = labels = job.levels_from
        stem = labels.name.removesuffix(ending(labels))
        result = labels.with_name(stem + RESULT_END)
        if result.is_file():
            files[OTHER_RESULT] = result
    return files


def _request(job: FileJob, files: dict[str, Path]) -> JobRequest:
    """Return the request for a job.

    Raises:
        UserError: If a server cannot run it.
    """
    try:
        sent = tuple(SentFile(role, ending(p), p.stat().st_size) for role, p in files.items())
        common: dict[str, Any] = {
            "files": sent,
            "request_id": uuid.uuid4().hex,
            "labels_ending": ending(job.output),
        }
        if isinstance(job, SegmentJob | ResegmentJob):
            common |= {n: getattr(job, n) for n in ("model", "modality", "precision")}
        if isinstance(job, SegmentJob):
            names = ("quality", "fixed_levels", "keep_pieces", "fine_slices")
            options = {name: getattr(job, name) for name in names}
            return SegmentRequest(**common, **options, picture=job.picture is not None)
        if isinstance(job, ResegmentJob):
            names = ("point_lps_mm", "replaced_label", "locked_labels")
            return ResegmentRequest(**common, **{name: getattr(job, name) for name in names})
    except OSError as error:
        raise UserError(
            f"A file to send cannot be read: {error.strerror}.", "Check the path."
        ) from error
    except ValueError as error:
        raise UserError(f"A server cannot run this: {error}.", "Check the options.") from error
    raise UserError("A server cannot run this.", "Work on this computer instead.")


def _targets(job: FileJob) -> dict[str, Path]:
    """Return the files to write, by role."""
    picture = getattr(job, "picture", None)
    named = {LABELS: job.output, RESULT: job.result, PICTURE: picture}
    return {role: path for role, path in named.items() if path is not None}


def _code(name: str) -> Code:
    """Return a code of errors; a newer server may know more of them."""
    return Code(name) if name in Code.__members__ else Code.SERVER_REFUSED
