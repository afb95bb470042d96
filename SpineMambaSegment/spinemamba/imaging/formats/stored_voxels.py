"""Read the voxels of an image file once, in blocks: whether they are all there, and undamaged."""

from __future__ import annotations

import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

BLOCK_BYTES, PACKED_BLOCK_BYTES = 1 << 22, 1 << 18
DISK_BLOCK_BYTES = 512
"""Some tools write whole blocks; zeros that end elsewhere are no padding, but a shift."""

MOST_INFLATION = 1032
"""Bytes that one byte of a deflate stream can hold at most (zlib, "Maximum expansion factor")."""

EITHER_HEADER = 47
"""zlib's code for: of zlib or of gzip, with 32 kB of memory."""

GZIP_MARK = b"\x1f\x8b"
GZIP, ZLIB, RAW, TEXT, HEX = "gzip", "zlib", "raw", "text", "hex"


class UnreadableError(ValueError):
    """Why a file cannot be read, as the end of a sentence."""


@dataclass(frozen=True)
class StoredVoxels:
    """Where the voxels of an image are, according to its header.

    Attributes:
        files: One, or several of equal share.
        dtype: Type of one number, with its byte order.
        count: Numbers in all files together.
        encoding: One of `RAW`, `GZIP`, `ZLIB`, `TEXT` and `HEX`.
        start: Byte of each file at which what is described here begins.
        skip_lines: Lines to skip after it.
        skip_bytes: Bytes to skip then, after decompression; -1 if the voxels end with the file.
        packed_bytes: Size of the compressed voxels if the header states it.
        zeroes_strange: Whether the library puts 0 where a number is NaN or infinite.
        scale: Factor and shift with which the library computes values from what is stored; None
            if it hands over what is stored.
    """

    files: tuple[Path, ...]
    dtype: np.dtype
    count: int
    encoding: str = RAW
    start: int = 0
    skip_lines: int = 0
    skip_bytes: int = 0
    packed_bytes: int | None = None
    zeroes_strange: bool = False
    scale: tuple[float, float] | None = None


@dataclass
class Walked:
    """What was found in the voxels.

    Attributes:
        crc: CRC-32 of the values in this computer's byte order, as the library shall hand them
            over.
        strange: Where a number is NaN or infinite, in the order of the file; only if the library
            hides it.
        infinite: How many of them are infinite.
        ends: Least and greatest of the values that are to be scaled.
    """

    crc: int = 0
    strange: np.ndarray | None = None
    infinite: int = 0
    ends: tuple[float, float] = (math.inf, -math.inf)


class Stream(Protocol):
    """What voxels are read from, decompressed."""

    def read(self, size: int) -> bytes:
        """Return up to so many bytes; none at the end, after all checks of the format."""


def walk(stored: StoredVoxels) -> Walked:
    """Read all voxels without keeping them.

    Raises:
        UnreadableError: If there are fewer or more than the header says, or the compression's own
            checks fail.
        OSError: If a file cannot be read.
    """
    if not stored.files:
        raise UnreadableError("its header names no file with its voxels")
    size = stored.count * stored.dtype.itemsize
    share, rest = divmod(size, len(stored.files))
    if rest or share % stored.dtype.itemsize:
        raise UnreadableError(f"its voxels are not {len(stored.files)} equal parts")
    found = Walked()
    at = 0
    for path in stored.files:
        with path.open("rb") as file:
            stream = _stream(file, stored, share)
            try:
                at = _walk_stream(stream, stored, share, found, at)
            except (EOFError, zlib.error) as error:
                raise UnreadableError("its compressed data are damaged or cut off") from error
    return found


def _walk_stream(stream: Stream, stored: StoredVoxels, share: int, found: Walked, at: int) -> int:
    """Read one file's share of bytes; return how many numbers are read by then."""
    left = share
    while left:
        block = _exactly(stream, min(left, BLOCK_BYTES))
        if len(block) < min(left, BLOCK_BYTES):
            raise short(share - left + len(block), share)
        left -= len(block)
        values = np.frombuffer(block, stored.dtype)
        _add(values.astype(stored.dtype.newbyteorder("="), copy=False), stored, found, at)
        at += values.size
    surplus = _exactly(stream, DISK_BLOCK_BYTES)
    if surplus and not _is_padding(stream, surplus):
        raise UnreadableError(
            f"it holds more than the {share} bytes of voxels that its header states"
        )
    return at


def _is_padding(stream: Stream, surplus: bytes) -> bool:
    """Return whether bytes behind the voxels only fill up a block of a disk."""
    ends_with_block = (
        isinstance(stream, io.BufferedReader) and stream.tell() % DISK_BLOCK_BYTES == 0
    )
    return ends_with_block and len(surplus) < DISK_BLOCK_BYTES and not surplus.strip(b"\0")


def _add(values: np.ndarray, stored: StoredVoxels, found: Walked, at: int) -> None:
    if stored.zeroes_strange and values.dtype.kind == "f":
        strange = ~np.isfinite(values)
        if strange.any():
            if found.strange is None:
                found.strange = np.zeros(stored.count, bool)
            found.strange[at : at + values.size] = strange
            found.infinite += int(np.isinf(values).sum())
            values = np.where(strange, values.dtype.type(0), values)
    if stored.scale is not None:
        low, high = found.ends
        found.ends = min(low, float(values.min())), max(high, float(values.max()))
    found.crc = zlib.crc32(values, found.crc)


def _exactly(stream: Stream, size: int) -> bytes:
    """Return so many bytes, fewer only at the end."""
    parts = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def short(found: int, wanted: int) -> UnreadableError:
    """Return the error that a file holds too little."""
    return UnreadableError(
        f"it holds {found} of the {wanted} bytes of voxels that its header states"
    )


def _stream(file: BinaryIO, stored: StoredVoxels, share: int) -> Stream:
    """Return what gives the voxels of a file, and refuse what cannot hold them before reading."""
    size = file.seek(0, io.SEEK_END)
    file.seek(stored.start)
    for _ in range(stored.skip_lines):
        file.readline()
    here = file.tell()
    left = size - here
    if stored.encoding == RAW:
        if stored.skip_bytes < 0:
            here = size - share
        file.seek(max(0, here + max(0, stored.skip_bytes)))
        if (there := size - (here + max(0, stored.skip_bytes))) < share or here < 0:
            raise short(max(0, min(there, size)), share)
        return file
    if stored.encoding in (TEXT, HEX):
        digits = 2 * share if stored.encoding == HEX else 2 * share // stored.dtype.itemsize - 1
        if left < digits:
            raise UnreadableError(f"it holds {left} characters, too few for what its header states")
        return io.BytesIO(_parsed(file.read(), stored))
    if stored.skip_bytes < 0:
        raise UnreadableError("the place of its compressed voxels is not stated")
    if share + stored.skip_bytes > MOST_INFLATION * left:
        raise UnreadableError(
            f"{left} bytes of compressed data cannot hold the {share} that it states"
        )
    stream = _Inflating(file, left if stored.encoding == GZIP else _packed_bytes(stored, left))
    skip = stored.skip_bytes
    while skip and (part := stream.read(min(skip, BLOCK_BYTES))):
        skip -= len(part)
    return stream


def _packed_bytes(stored: StoredVoxels, left: int) -> int:
    """Return how many compressed bytes there are."""
    if stored.packed_bytes is None:
        raise UnreadableError(
            "it does not state the size of its compressed data (CompressedDataSize)"
        )
    if not 0 < stored.packed_bytes <= left:
        raise UnreadableError(
            f"it holds {left} bytes of compressed data, its header states {stored.packed_bytes}"
        )
    return stored.packed_bytes


def _parsed(text: bytes, stored: StoredVoxels) -> bytes:
    """Return numbers that are written in digits as bytes."""
    if stored.encoding == HEX:
        return bytes.fromhex(text.decode("ascii"))
    tokens = np.array(text.replace(b",", b" ").split())
    kind = np.float64 if stored.dtype.kind == "f" else np.int64
    return tokens.astype(kind).astype(stored.dtype).tobytes()


class _Inflating:
    """Decompress zlib or gzip, as `Stream`; gzip may consist of several members."""

    def __init__(self, file: BinaryIO, packed_bytes: int):
        self._file, self._left = file, packed_bytes
        self._start(b"")

    def _start(self, data: bytes) -> None:
        self._inflate, self._data = zlib.decompressobj(EITHER_HEADER), data

    def read(self, size: int) -> bytes:
        while not self._inflate.eof or self._next_member():
            if not self._data:
                self._data = self._file.read(max(0, min(self._left, PACKED_BLOCK_BYTES)))
                self._left -= len(self._data)
            # Without new data there may still be output that had no room before.
            part, ended = self._inflate.decompress(self._data, size), not self._data
            self._data = self._inflate.unconsumed_tail
            if part:
                return part
            if ended and not self._inflate.eof:
                raise EOFError
        return b""

    def _next_member(self) -> bool:
        """Begin what follows a finished stream; only zeros may if it is no other one."""
        behind = self._inflate.unused_data
        if len(behind) < len(GZIP_MARK):
            more = self._file.read(len(GZIP_MARK))
            self._left -= len(more)
            behind += more
        if behind.startswith(GZIP_MARK):
            self._start(behind)
            return True
        while behind:
            if behind.strip(b"\0"):
                raise zlib.error("other bytes follow the compressed data")
            behind = self._file.read(PACKED_BLOCK_BYTES)
        return False


def count_of(sizes: tuple[int, ...]) -> int:
    """Return the number of voxels of a grid.

    Raises:
        UnreadableError: If there is none along an axis.
    """
    if not sizes or min(sizes) < 1:
        raise UnreadableError(f"its header states {' x '.join(map(str, sizes))} voxels")
    return math.prod(sizes)
