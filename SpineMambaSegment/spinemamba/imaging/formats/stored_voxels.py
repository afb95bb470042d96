"""Read the voxels of an image file once, in blocks, to verify that they are complete and intact."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

BLOCK_BYTES, PACKED_BLOCK_BYTES = 1 << 22, 1 << 18
DISK_BLOCK_BYTES = 512
"""Some tools fill the last disk block with zeros. Zeros that end elsewhere are shifted voxels."""

MOST_INFLATION = 1032
"""Largest expansion of a deflate stream (zlib, "Maximum expansion factor")."""

EITHER_HEADER = 47
"""zlib's ``wbits`` for automatic detection of zlib or gzip headers, window of 32 kB."""

GZIP_MARK = b"\x1f\x8b"
GZIP, ZLIB, RAW, TEXT, HEX = "gzip", "zlib", "raw", "text", "hex"


class UnreadableError(ValueError):
    """Reason why a file cannot be read, as the end of a sentence."""


@dataclass(frozen=True)
class StoredVoxels:
    """Location and encoding of the voxels of an image, according to its header.

    Attributes:
        files: One file, or several with equal numbers of voxels.
        dtype: Type of one number, with its byte order.
        count: Numbers in all files together.
        encoding: One of `RAW`, `GZIP`, `ZLIB`, `TEXT` and `HEX`.
        start: Byte offset in each file, before lines and bytes are skipped.
        skip_lines: Lines to skip after ``start``.
        skip_bytes: Bytes to skip then, after decompression; -1 if the voxels end with the file.
        packed_bytes: Size of the compressed voxels if the header states it.
        zeroes_non_finite: Whether the library replaces NaN and infinity by 0.
        scale: Slope and intercept that the library applies to stored values; None if it does not
            scale.
    """

    files: tuple[Path, ...]
    dtype: np.dtype
    count: int
    encoding: str = RAW
    start: int = 0
    skip_lines: int = 0
    skip_bytes: int = 0
    packed_bytes: int | None = None
    zeroes_non_finite: bool = False
    scale: tuple[float, float] | None = None


@dataclass
class VoxelScan:
    """Properties of the stored voxels.

    Attributes:
        crc: CRC-32 of the values in native byte order, as the library should return them.
        non_finite: Mask of NaN and infinite numbers, in the order of the file; None if there are
            none, or if the library keeps them.
        infinite: Number of infinite values.
        ends: Minimum and maximum before scaling; only if the library scales.
    """

    crc: int = 0
    non_finite: np.ndarray | None = None
    infinite: int = 0
    ends: tuple[float, float] = (math.inf, -math.inf)


class Stream(Protocol):
    """Source of decompressed voxels."""

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes. Empty at the end, after all checks of the format."""


def scan_voxels(stored: StoredVoxels) -> VoxelScan:
    """Read all voxels without keeping them; errors as in `voxel_blocks`."""
    scan = VoxelScan()
    at = 0
    for values in voxel_blocks(stored):
        _add(values, stored, scan, at)
        at += values.size
    return scan


def voxel_blocks(stored: StoredVoxels, block_bytes: int = BLOCK_BYTES) -> Iterator[np.ndarray]:
    """Read all voxels block by block.

    Args:
        stored: Location and encoding of the voxels.
        block_bytes: Bytes per block; the last block of a file may be smaller.

    Yields:
        Numbers in the order of the file, in native byte order; read-only.

    Raises:
        UnreadableError: If there are fewer or more than the header states, or a checksum of the
            compression fails.
        OSError: If a file cannot be read.
    """
    if not stored.files:
        raise UnreadableError("its header names no file with its voxels")
    size = stored.count * stored.dtype.itemsize
    share, rest = divmod(size, len(stored.files))
    if rest or share % stored.dtype.itemsize:
        raise UnreadableError(f"its voxels are not {len(stored.files)} equal parts")
    for path in stored.files:
        with path.open("rb") as file:
            stream = _stream(file, stored, share)
            try:
                yield from _blocks_of(stream, stored, share, block_bytes)
            except (EOFError, zlib.error) as error:
                raise UnreadableError("its compressed data are damaged or cut off") from error


def _blocks_of(
    stream: Stream, stored: StoredVoxels, share: int, block_bytes: int
) -> Iterator[np.ndarray]:
    """Read the ``share`` bytes of one file block by block."""
    remaining = share
    while remaining:
        block = _exactly(stream, min(remaining, block_bytes))
        if len(block) < min(remaining, block_bytes):
            raise too_short(share - remaining + len(block), share)
        remaining -= len(block)
        values = np.frombuffer(block, stored.dtype)
        yield values.astype(stored.dtype.newbyteorder("="), copy=False)
    surplus = _exactly(stream, DISK_BLOCK_BYTES)
    if surplus and not _is_padding(stream, surplus):
        raise UnreadableError(
            f"it holds more than the {share} bytes of voxels that its header states"
        )


def _is_padding(stream: Stream, surplus: bytes) -> bool:
    """Return whether bytes after the voxels are zeros that fill a disk block."""
    ends_with_block = (
        isinstance(stream, io.BufferedReader) and stream.tell() % DISK_BLOCK_BYTES == 0
    )
    return ends_with_block and len(surplus) < DISK_BLOCK_BYTES and not surplus.strip(b"\0")


def _add(values: np.ndarray, stored: StoredVoxels, scan: VoxelScan, at: int) -> None:
    if stored.zeroes_non_finite and values.dtype.kind == "f":
        non_finite = ~np.isfinite(values)
        if non_finite.any():
            if scan.non_finite is None:
                scan.non_finite = np.zeros(stored.count, bool)
            scan.non_finite[at : at + values.size] = non_finite
            scan.infinite += int(np.isinf(values).sum())
            values = np.where(non_finite, values.dtype.type(0), values)
    if stored.scale is not None:
        low, high = scan.ends
        scan.ends = min(low, float(values.min())), max(high, float(values.max()))
    scan.crc = zlib.crc32(values, scan.crc)


def _exactly(stream: Stream, size: int) -> bytes:
    """Return ``size`` bytes, fewer only at the end of the stream."""
    parts = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def too_short(found: int, expected: int) -> UnreadableError:
    """Return the error for a file with too few bytes."""
    return UnreadableError(
        f"it holds {found} of the {expected} bytes of voxels that its header states"
    )


def _stream(file: BinaryIO, stored: StoredVoxels, share: int) -> Stream:
    """Return a stream of the voxels of a file. A file that is too small is refused unread."""
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
            raise too_short(max(0, min(there, size)), share)
        return file
    if stored.encoding in (TEXT, HEX):
        digits = 2 * share if stored.encoding == HEX else 2 * share // stored.dtype.itemsize - 1
        if left < digits:
            raise UnreadableError(f"it holds {left} characters, too few for what its header states")
        return io.BytesIO(_parsed(file.read(), stored))
    if stored.skip_bytes < 0:
        raise UnreadableError("the offset of its compressed voxels is not stated")
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
    """Return the number of compressed bytes."""
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
    """Parse numbers in text or hexadecimal digits; return their bytes."""
    if stored.encoding == HEX:
        return bytes.fromhex(text.decode("ascii"))
    tokens = np.array(text.replace(b",", b" ").split())
    kind = np.float64 if stored.dtype.kind == "f" else np.int64
    return tokens.astype(kind).astype(stored.dtype).tobytes()


class _Inflating:
    """`Stream` that decompresses zlib or gzip; gzip may consist of several members."""

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
            # Without new data there may still be output that exceeded ``size`` before.
            part, ended = self._inflate.decompress(self._data, size), not self._data
            self._data = self._inflate.unconsumed_tail
            if part:
                return part
            if ended and not self._inflate.eof:
                raise EOFError
        return b""

    def _next_member(self) -> bool:
        """Start the next gzip member and return True, or check that only zeros follow."""
        rest = self._inflate.unused_data
        if len(rest) < len(GZIP_MARK):
            more = self._file.read(len(GZIP_MARK))
            self._left -= len(more)
            rest += more
        if rest.startswith(GZIP_MARK):
            self._start(rest)
            return True
        while rest:
            if rest.strip(b"\0"):
                raise zlib.error("other bytes follow the compressed data")
            rest = self._file.read(PACKED_BLOCK_BYTES)
        return False


def count_of(sizes: tuple[int, ...]) -> int:
    """Return the number of voxels of a grid.

    Raises:
        UnreadableError: If an axis has no voxel.
    """
    if not sizes or min(sizes) < 1:
        raise UnreadableError(f"its header states {' x '.join(map(str, sizes))} voxels")
    return math.prod(sizes)
