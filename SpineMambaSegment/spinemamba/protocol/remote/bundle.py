"""A line of JSON followed by files: the body of a request for a job, and of a whole result.

The line names the files in their order with their sizes; nothing separates them. Unlike multipart,
the sizes are known before the first file, and no name of a file is sent. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

LONGEST_LINE_BYTES = 1 << 16
"""Longest first line, with its line feed."""

BLOCK_BYTES = 1 << 18


class _Sized(Protocol):
    bytes: int


def body_length(line: bytes, files: Iterable[_Sized]) -> int:
    """Return the length of a body in bytes.

    Args:
        line: The first line, with its line feed.
        files: The files, as the line names them.
    """
    return len(line) + sum(file.bytes for file in files)


def blocks(line: bytes, paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield a body in blocks.

    Args:
        line: The first line, with its line feed.
        paths: The files in the order of the line.

    Raises:
        OSError: If a file cannot be read.
    """
    yield line
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block


def read_line(body: BinaryIO) -> bytes:
    """Read the first line of a body.

    Raises:
        ValueError: If it is too long or incomplete.
    """
    line = body.readline(LONGEST_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise ValueError("the first line is too long or incomplete")
    return line


def read_file(body: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the next file of a body in blocks.

    Args:
        body: The body, at the first byte of the file.
        size: Size of the file.

    Raises:
        ValueError: If the body ends before the file.
    """
    while size:
        block = body.read(min(size, BLOCK_BYTES))
        if not block:
            raise ValueError(f"the connection ended {size} bytes before the end of a file")
        size -= len(block)
        yield block
