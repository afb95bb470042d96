"""Answers of the server."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from spinemamba.common.json_schema import JsonFormat
from spinemamba.protocol.remote.bundle import BLOCK_BYTES
from spinemamba.server.errors import RefusedError

_JSON = "application/json"


def json_answer(form: JsonFormat, content: Any, status: int = 200, **headers: str) -> Response:
    """Return an answer with a JSON body."""
    body = form.to_text(content, indent=None).encode()
    return Response(body, status, headers, _JSON)


def refusal(error: RefusedError) -> Response:
    """Return the answer to a request that is refused."""
    headers = {}
    if error.content.retry_s is not None:
        headers["Retry-After"] = str(math.ceil(error.content.retry_s))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(error.body, error.status, headers, _JSON)


class FilesResponse(Response):
    """An answer that sends bytes and then files.

    Args:
        start: First bytes.
        files: Files with their sizes.
        media_type: Content type.
        on_end: Called with whether everything was sent.
    """

    def __init__(
        self,
        start: bytes,
        files: list[tuple[Path, int]],
        media_type: str,
        on_end: Callable[[bool], None],
    ):
        self._start, self._files, self._on_end = start, files, on_end
        self._length = len(start) + sum(size for _, size in files)
        super().__init__(headers={"Content-Length": str(self._length)}, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; stop when the client is gone."""
        sent = 0
        gone = asyncio.ensure_future(_is_gone(receive))
        try:
            with contextlib.ExitStack() as opened:
                # Open files stay readable if the client erases the job meanwhile.
                files = [opened.enter_context(path.open("rb")) for path, _ in self._files]
                start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                await send(start)
                async for block in _blocks(self._start, files):
                    if gone.done():
                        break
                    await _send_block(send, block, is_last=sent + len(block) == self._length)
                    sent += len(block)
        finally:
            gone.cancel()
            # A client may close the connection as soon as it has the last byte.
            await asyncio.to_thread(self._on_end, sent == self._length)


async def _blocks(start: bytes, files: list[BinaryIO]) -> AsyncIterator[bytes]:
    """Yield some bytes, and then files in blocks."""
    if start:
        yield start
    for file in files:
        while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
            yield block


async def _send_block(send: Send, block: bytes, *, is_last: bool) -> None:
    await send({"type": "http.response.body", "body": block, "more_body": not is_last})


async def _is_gone(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
