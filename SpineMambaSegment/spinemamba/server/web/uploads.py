"""Receive the body of a request for a job, within limits of size and time."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

from spinemamba.common.atomic_files import NO_ROOM
from spinemamba.protocol.remote.bundle import LONGEST_LINE_BYTES, body_length
from spinemamba.protocol.remote.formats import (
    IMAGE,
    JOB_TYPE,
    JSON_ENDING,
    REQUEST,
    JobRequest,
    SentFile,
)
from spinemamba.protocol.result import RESULT
from spinemamba.server.errors import RefusedError, disk_full
from spinemamba.server.image_check import HEADER_BYTES, check_image
from spinemamba.server.job_folder import JobFolder
from spinemamba.server.settings import Settings, Timeouts

_BLOCK_BYTES = 1 << 20
_MOST_JSON_BYTES = 1 << 24
_MOST_DIGITS = 19
_SAME_VERSION = "Install the same version on both computers."


class BodyReader:
    """Reads the body of a request.

    Args:
        stream: Blocks of the body as they arrive.
        length: Length that the header states.
        timeouts: Longest silence, and least mean rate.
    """

    def __init__(self, stream: AsyncIterator[bytes], length: int, timeouts: Timeouts):
        self._stream, self._left, self._timeouts = stream, length, timeouts
        self._held = b""
        self._received, self._start_s = 0, time.monotonic()

    async def line(self) -> bytes:
        """Return the first line.

        Raises:
            RefusedError: If it is too long or incomplete (BAD_REQUEST), or arrives too slowly
                (TIMEOUT).
        """
        data = bytearray()
        while b"\n" not in data and len(data) < LONGEST_LINE_BYTES:
            block = await self.next()
            if not block:
                break
            data += block
        end = data.find(b"\n", 0, LONGEST_LINE_BYTES) + 1
        if not end:
            raise RefusedError(
                "BAD_REQUEST", "The request does not begin with a line of JSON.", _SAME_VERSION
            )
        self._held = bytes(data[end:])
        return bytes(data[:end])

    async def next(self, most: int = _BLOCK_BYTES) -> bytes:
        """Return at most so many bytes; none at the end.

        Raises:
            RefusedError: If they arrive too slowly (TIMEOUT).
        """
        while not self._held:
            try:
                block = await asyncio.wait_for(anext(self._stream), self._timeouts.idle_s)
            except StopAsyncIteration:
                return b""
            except asyncio.TimeoutError as error:
                raise _too_slow() from error
            self._held = block
            self._received += len(block)
            spent_s = time.monotonic() - self._start_s - self._timeouts.grace_s
            if spent_s > 0 and self._received < spent_s * self._timeouts.least_bytes_per_s:
                raise _too_slow()
        block, self._held = self._held[:most], self._held[most:]
        return block


@dataclass
class _Sink:
    """A file being received: blocks are written and hashed in another thread.

    Attributes:
        file: The open file.
        sha256: Hash of what was written.
    """

    file: BinaryIO
    sha256: Any = field(default_factory=hashlib.sha256)

    async def put(self, block: bytes) -> None:
        """Write a block."""
        await asyncio.to_thread(self._put, block)

    def _put(self, block: bytes) -> None:
        self.file.write(block)
        self.sha256.update(block)


def content_length(headers: Mapping[str, str], settings: Settings) -> int:
    """Return the length of a body, before any of it is read.

    Raises:
        RefusedError: If the type is another (WRONG_TYPE), the length is not stated
            (LENGTH_REQUIRED) or too large (TOO_LARGE), or the disk has no room (DISK_FULL).
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JOB_TYPE:
        raise RefusedError("WRONG_TYPE", f"The type of the body is not {JOB_TYPE}.", _SAME_VERSION)
    text = headers.get("content-length", "")
    if not (text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS):
        message = "The request does not state its length."
        raise RefusedError("LENGTH_REQUIRED", message, "Send the header Content-Length.")
    length, most = int(text), settings.limits.upload_bytes
    if length > most:
        raise RefusedError(
            "TOO_LARGE",
            f"The request has {length} bytes; this server takes at most {most}.",
            "Crop the image to the spine, or ask the administrator for a higher limit.",
        )
    if shutil.disk_usage(settings.folder).free < length + settings.spare_bytes:
        raise disk_full()
    return length


def parse_request(line: bytes, length: int) -> JobRequest:
    """Return the request in the first line of a body.

    Args:
        line: The line.
        length: Length of the body.

    Raises:
        RefusedError: If it is not a request (INPUT_BAD), or its files do not fill the body
            (BAD_REQUEST).
    """
    try:
        request = REQUEST.parse_text(line.decode("utf-8"))
    except ValueError as error:
        message = f"The first line is not {REQUEST.noun}: {error}."
        raise RefusedError("INPUT_BAD", message, REQUEST.remedy) from error
    if (stated := body_length(line, request.files)) != length:
        raise RefusedError(
            "BAD_REQUEST",
            f"The request states {stated} bytes, and the header Content-Length {length}.",
            _SAME_VERSION,
        )
    return request


async def receive_files(
    body: BodyReader, request: JobRequest, folder: JobFolder, settings: Settings
) -> int:
    """Write the files of a request into the folder of its job, and check their headers.

    Returns:
        Number of voxels in all images.

    Raises:
        RefusedError: If a file is incomplete or not valid, or the disk is full (DISK_FULL).
        ClientDisconnect: If the connection ended.
    """
    voxels = 0
    try:
        await asyncio.to_thread(folder.make)
        for file in request.files:
            voxels += await _receive_file(body, file, folder, settings)
    except OSError as error:
        if error.errno in NO_ROOM or error.errno == errno.EIO:
            raise disk_full() from error
        raise
    return voxels


async def _receive_file(
    body: BodyReader, file: SentFile, folder: JobFolder, settings: Settings
) -> int:
    path, left, voxels = folder.sent(file), file.bytes, None
    is_json = file.ending == JSON_ENDING
    if is_json and file.bytes > _MOST_JSON_BYTES:
        raise RefusedError("TOO_LARGE", "result.json is too large.", _SAME_VERSION)
    with path.open("xb", buffering=0) as out:
        sink, pending = _Sink(out), bytearray()
        while left:
            block = await body.next(left)
            if not block:
                raise RefusedError("BAD_REQUEST", "The request ended early.", "Send it again.")
            left -= len(block)
            pending += block
            if left and len(pending) < _BLOCK_BYTES:
                continue
            await sink.put(bytes(pending))
            pending.clear()
            if voxels is None and not is_json and (not left or out.tell() >= HEADER_BYTES):
                most = settings.limits.voxels
                check = partial(check_image, is_labels=file.role != IMAGE)
                voxels = await asyncio.to_thread(check, path, file.ending, most)
    if file.sha256 and file.sha256 != sink.sha256.hexdigest():
        message = "A file has changed on the way: its hash is another."
        raise RefusedError("INPUT_BAD", message, "Send it again.")
    if is_json:
        await asyncio.to_thread(_check_result, folder, file)
    return voxels or 0


def _check_result(folder: JobFolder, file: SentFile) -> None:
    try:
        RESULT.parse_text(folder.sent(file).read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"The file is not {RESULT.noun}: {error}."
        raise RefusedError("INPUT_BAD", message, RESULT.remedy) from error


def _too_slow() -> RefusedError:
    return RefusedError("TIMEOUT", "The request arrived too slowly.", "Check the network.")
