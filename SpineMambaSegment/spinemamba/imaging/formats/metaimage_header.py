"""The header of a MetaImage (MetaIO's documentation, "MetaImage")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spinemamba.imaging.formats.image_header import (
    ImageHeader,
    beside,
    numbered,
    numbers,
    once,
    whole_numbers,
)
from spinemamba.imaging.formats.stated_geometry import Statement
from spinemamba.imaging.formats.stored_voxels import (
    RAW,
    TEXT,
    ZLIB,
    StoredVoxels,
    UnreadableError,
    count_of,
)

LONGEST_HEADER_BYTES = 1 << 20
SPACING = ("ElementSpacing", "ElementSize")
ORIGIN = ("Offset", "Position", "Origin")
DIRECTION = ("TransformMatrix", "Rotation", "Orientation")
"""Fields of one meaning; the first is the common one."""

UNITS_MM = {"um": 0.001, "mm": 1.0, "cm": 10.0, "?": 1.0}
TYPES = {"CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4"}
TYPES |= {"LONG": "i4", "ULONG": "u4", "LONG_LONG": "i8", "ULONG_LONG": "u8"}
TYPES |= {"FLOAT": "f4", "DOUBLE": "f8"}
MISSING = {
    "spacing_mm": "no ElementSpacing",
    "direction_lps": "no TransformMatrix",
    "origin_lps_mm": "no Offset",
}


def read_metaimage_header(path: Path) -> ImageHeader:
    """Return what the header of an ``.mha`` or ``.mhd`` says.

    Raises:
        UnreadableError: If it is no such header, or contradicts itself.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        text = file.read(LONGEST_HEADER_BYTES)
    fields, end = _fields(text)
    axes = whole_numbers(fields.get("NDims", ""), 1, "NDims")[0]
    sizes = whole_numbers(fields.get("DimSize", ""), axes, "DimSize")
    count_of(sizes)
    listed = text[end:].decode("latin-1").splitlines()
    unit = fields.get("DistanceUnits") or "?"
    if unit not in UNITS_MM:
        raise UnreadableError(f"its header states lengths in '{unit}' (DistanceUnits)")
    _check_scale(fields)
    return ImageHeader(
        sizes,
        tuple(_statements(fields, axes)),
        _voxels(path, fields, sizes, (end, listed)),
        MISSING,
        UNITS_MM[unit],
    )


def _fields(text: bytes) -> tuple[dict[str, str], int]:
    """Return the fields, and where the line of the last of them ends."""
    fields: dict[str, str] = {}
    end = 0
    for line in text.splitlines(keepends=True):
        end += len(line)
        name, mark, value = re.match(r"([^=:]*)([=:]?)(.*)", line.decode("latin-1")).groups()
        if mark and name.strip() != "Comment":
            once(fields, name.strip(), value.strip())
        if mark and name.strip() == "ElementDataFile":
            return fields, end
    raise UnreadableError("its header does not say where the voxels are (no ElementDataFile)")


def _check_scale(fields: dict[str, str]) -> None:
    scale = [("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)]
    for name, harmless in scale:
        if name in fields and numbers(fields[name], 1, name)[0] != harmless:
            raise UnreadableError(f"{name} is {fields[name]}, and scaled values are not supported")


def _statements(fields: dict[str, str], axes: int) -> Iterator[Statement]:
    if axes < 3:
        return
    for name in filter(fields.__contains__, SPACING):
        yield Statement(name, numbers(fields[name], axes, name)[:3])
    for name in filter(fields.__contains__, ORIGIN):
        yield Statement(name, origin_lps_mm=numbers(fields[name], axes, name)[:3])
    # AnatomicalOrientation names the nearest axes only; alone it does not say how an image lies.
    for name in filter(fields.__contains__, DIRECTION):
        # Its rows are the directions of the axes.
        rows = np.array(numbers(fields[name], axes * axes, name)).reshape(axes, axes)
        yield Statement(name, direction_lps=rows[:3, :3].T)


def _voxels(
    path: Path, fields: dict[str, str], sizes: tuple[int, ...], behind: tuple[int, list[str]]
) -> StoredVoxels:
    kind = fields.get("ElementType", "").removeprefix("MET_").removesuffix("_ARRAY")
    if kind not in TYPES:
        raise UnreadableError(f"its numbers are of a type that is not supported, '{kind}'")
    msb = {fields.get(name) for name in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")} - {None}
    orders = {_is_true(value) for value in msb} or {False}
    if len(orders) > 1:
        raise UnreadableError("its header states two byte orders")
    channels = whole_numbers(fields.get("ElementNumberOfChannels", "1"), 1, "channels")[0]
    packed = _is_true(fields.get("CompressedData", "False"))
    text = not _is_true(fields.get("BinaryData", "True"))
    start, files = _files(path, fields["ElementDataFile"], behind)
    if packed and len(files) > 1:
        raise UnreadableError("its compressed voxels are in several files")
    size = fields.get("CompressedDataSize")
    return StoredVoxels(
        files,
        np.dtype(TYPES[kind]).newbyteorder(">" if orders == {True} else "<"),
        count_of((*sizes, channels)),
        ZLIB if packed else TEXT if text else RAW,
        start=start,
        skip_bytes=whole_numbers(fields.get("HeaderSize", "0"), 1, "HeaderSize")[0],
        packed_bytes=None if size is None else whole_numbers(size, 1, "CompressedDataSize")[0],
    )


def _is_true(value: str) -> bool:
    return value[:1] in ("T", "t", "1")


def _files(path: Path, named: str, behind: tuple[int, list[str]]) -> tuple[int, tuple[Path, ...]]:
    """Return at which byte the voxels begin, and in which files."""
    end, listed = behind
    first, *rest = named.split() or [""]
    if named in ("LOCAL", "Local", "local"):
        return end, (path,)
    if first == "LIST":
        names = [line.strip() for line in listed if line.strip()]
        return 0, tuple(beside(path, name) for name in names)
    if "%" in first and rest:
        low, high, step = (*map(int, rest[:3]), 1, 1, 1)[:3]
        return 0, tuple(beside(path, numbered(first, k)) for k in range(low, high + 1, step))
    return 0, (beside(path, named),)
