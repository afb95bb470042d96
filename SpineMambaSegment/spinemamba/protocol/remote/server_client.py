"""Client of ``spinemamba serve``: the requests of its API. Standard library only."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from spinemamba.common.errors import Code, UserError
from spinemamba.common.json_schema import JsonFormat
from spinemamba.protocol.remote.bundle import LONGEST_LINE_BYTES, blocks, body_length
from spinemamba.protocol.remote.formats import (
    CAPABILITIES,
    CAPABILITY,
    JOB_STATE,
    JOB_TYPE,
    JOBS,
    REFUSED,
    REQUEST,
    Capabilities,
    JobRequest,
    JobState,
    ResultFile,
)
from spinemamba.protocol.remote.http_connection import (
    Answer,
    Connection,
    RefusedError,
    UnreachableError,
)

T = TypeVar("T")

_MOST_JSON_BYTES = 8 << 20
_MOST_RESULT_BYTES = 8 << 30
_GONE = (404, 410)

Share = Callable[[float], None]
"""Called with the completed share of a transfer; may stop it by raising `Cancelled`."""


class ServerClient:
    """Requests to one server, each sent once.

    Args:
        connection: Connection to the server.
    """

    def __init__(self, connection: Connection):
        self._connection = connection

    @property
    def host(self) -> str:
        """Host and port of the server."""
        return self._connection.site.host

    def capabilities(self) -> Capabilities:
        """Return what the server is and can do.

        Raises:
            UserError: If it does not answer, or refuses the token.
        """
        return self._parsed(self._connection.request("GET", CAPABILITIES), CAPABILITY)

    def submit(self, request: JobRequest, paths: Sequence[Path], share: Share) -> JobState:
        """Send a job with its files.

        Args:
            request: The request; its files are those of ``paths``, in the same order.
            paths: Files to send.
            share: Progress of the transfer.

        Raises:
            UserError: If a file cannot be read, or the server refuses the job.
        """
        line = REQUEST.to_text(request, indent=None).encode()
        length = body_length(line, request.files)
        headers = {"Content-Type": JOB_TYPE, "Content-Length": str(length)}
        body = _counted(_read(line, paths), length, share)
        return self._parsed(self._connection.request("POST", JOBS, headers, body), JOB_STATE)

    def state(self, job_id: str) -> JobState:
        """Return the state of a job.

        Raises:
            UserError: If the server does not answer, or does not know the job.
        """
        return self._parsed(self._connection.request("GET", f"{JOBS}/{job_id}"), JOB_STATE)

    def cancel(self, job_id: str) -> None:
        """Stop a job and erase everything of it; nothing happens if it is gone.

        Raises:
            UserError: If the server does not answer.
        """
        answer = self._connection.request("DELETE", f"{JOBS}/{job_id}")
        if answer.status in _GONE:
            answer.drop()
            return
        self._checked(answer).drop()

    def fetch(self, job_id: str, targets: Mapping[str, Path], share: Share) -> None:
        """Write the files of a result.

        Args:
            job_id: The job, which is done.
            targets: Path by role; other files of the result are not kept.
            share: Progress of the transfer.

        Raises:
            UserError: If the server does not answer, or a file is missing or damaged.
            OSError: If a file cannot be written.
        """
        answer = self._checked(self._connection.request("GET", f"{JOBS}/{job_id}/result"))
        total = int(answer.headers.get("content-length") or 0)
        body = _Body(_counted(answer.blocks(_MOST_RESULT_BYTES), total, share))
        try:
            state = JOB_STATE.parse_text(body.line().decode())
        except ValueError as error:
            raise self._not_ours(answer) from error
        if missing := set(targets) - {file.role for file in state.files}:
            raise UserError(
                f"The result of {self.host} has no {', '.join(sorted(missing))}.",
                "Install the same version on both computers.",
                Code.SERVER_REFUSED,
            )
        for file in state.files:
            self._write(body, file, targets.get(file.role))
        body.finish()

    def _write(self, body: _Body, file: ResultFile, target: Path | None) -> None:
        """Write one file of a result, and check its hash."""
        digest = hashlib.sha256()
        if target is None:
            for _ in body.parts(file.bytes):
                pass
            return
        with target.open("wb") as out:
            for block in body.parts(file.bytes):
                digest.update(block)
                out.write(block)
        if digest.hexdigest() != file.sha256:
            raise UnreachableError(
                f"A file of {self.host} arrived damaged.", "Try again, and check the network."
            )

    def _parsed(self, answer: Answer, form: JsonFormat[T]) -> T:
        """Return the content of an answer."""
        text = self._checked(answer).body(_MOST_JSON_BYTES)
        try:
            return form.parse_text(text.decode())
        except ValueError as error:
            raise self._not_ours(answer) from error

    def _not_ours(self, answer: Answer) -> UserError:
        answer.drop()
        return UserError(
            f"{self.host} does not answer like spinemamba serve.",
            "Check the address, and install the same version on both computers.",
            Code.SERVER_REFUSED,
        )

    def _checked(self, answer: Answer) -> Answer:
        """Return an answer without an error.

        Raises:
            RefusedError: With the reason that the server gives.
        """
        if answer.is_good:
            return answer
        text = answer.body(_MOST_JSON_BYTES).decode("utf-8", "replace")
        answer.drop()
        try:
            reason = REFUSED.parse_text(text)
        except ValueError:
            raise RefusedError(
                answer.status,
                f"{self.host} answers with HTTP status {answer.status}, not like spinemamba serve.",
                "Check the address; a proxy may have answered.",
                answer.retry_after_s,
            ) from None
        raise RefusedError(
            answer.status,
            reason.message,
            reason.remedy,
            reason.retry_s,
            Code.INPUT_BAD if reason.code == "INPUT_BAD" else Code.SERVER_REFUSED,
        )


def _read(line: bytes, paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield a body; an unreadable file is the fault of the user, not of the network."""
    try:
        yield from blocks(line, paths)
    except OSError as error:
        raise UserError(
            f"A file to send cannot be read: {error.strerror}.", "Check its permissions."
        ) from error


def _counted(parts: Iterable[bytes], total: int, share: Share) -> Iterator[bytes]:
    """Yield blocks, and report their share of the total."""
    done = 0
    for part in parts:
        yield part
        done += len(part)
        share(min(1.0, done / total) if total else 0.0)


class _Body:
    """Blocks of an answer, read in pieces of other sizes.

    Args:
        parts: The blocks.
    """

    def __init__(self, parts: Iterator[bytes]):
        self._parts, self._rest = parts, b""

    def line(self) -> bytes:
        """Return the first line.

        Raises:
            ValueError: If it is too long or incomplete.
        """
        buffer = io.BytesIO()
        while b"\n" not in self._rest:
            buffer.write(self._rest)
            self._rest = next(self._parts, b"")
            if not self._rest or buffer.tell() > LONGEST_LINE_BYTES:
                raise ValueError("the first line is too long or incomplete")
        start, _, self._rest = self._rest.partition(b"\n")
        return buffer.getvalue() + start

    def parts(self, size: int) -> Iterator[bytes]:
        """Yield the next bytes.

        Raises:
            UnreachableError: If the answer ends before.
        """
        while size:
            if not self._rest:
                self._rest = next(self._parts, b"")
            if not self._rest:
                raise UnreachableError("The result is incomplete.", "Try again.")
            block, self._rest = self._rest[:size], self._rest[size:]
            size -= len(block)
            yield block

    def finish(self) -> None:
        """Read to the end, so that the connection can be used again."""
        for _ in self._parts:
            pass
