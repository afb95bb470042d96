"""The header of a MetaImage (MetaIO's documentation, "MetaImage")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spinemamba.imaging.formats.image_header import (
    ImageHeader,
    add_field,
    data_file,
    numbered_name,
    parse_integers,
    parse_numbers,
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
"""Synonymous fields, the most common first."""

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
    """Read the header of an ``.mha`` or ``.mhd`` file.

    Raises:
        UnreadableError: If it is not a MetaImage header, or contradictory.
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        text = file.read(LONGEST_HEADER_BYTES)
    fields, end = _fields(text)
    axes = parse_integers(fields.get("NDims", ""), 1, "NDims")[0]
    sizes = parse_integers(fields.get("DimSize", ""), axes, "DimSize")
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
    """Return the fields, and the byte after the line of ElementDataFile, the last one."""
    fields: dict[str, str] = {}
    end = 0
    for line in text.splitlines(keepends=True):
        end += len(line)
        name, mark, value = re.match(r"([^=:]*)([=:]?)(.*)", line.decode("latin-1")).groups()
        if mark and name.strip() != "Comment":
            add_field(fields, name.strip(), value.strip())
        if mark and name.strip() == "ElementDataFile":
            return fields, end
    raise UnreadableError("its header does not state where the voxels are (no ElementDataFile)")


def _check_scale(fields: dict[str, str]) -> None:
    scale = [("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)]
    for name, neutral in scale:
        if name in fields and parse_numbers(fields[name], 1, name)[0] != neutral:
            raise UnreadableError(f"{name} is {fields[name]}, and scaled values are not supported")


def _statements(fields: dict[str, str], axes: int) -> Iterator[Statement]:
    if axes < 3:
        return
    for name in filter(fields.__contains__, SPACING):
        yield Statement(name, parse_numbers(fields[name], axes, name)[:3])
    for name in filter(fields.__contains__, ORIGIN):
        yield Statement(name, origin_lps_mm=parse_numbers(fields[name], axes, name)[:3])
    # AnatomicalOrientation names only the nearest axes, which does not define the direction.
    for name in filter(fields.__contains__, DIRECTION):
        # The rows are the directions of the axes.
        rows = np.array(parse_numbers(fields[name], axes * axes, name)).reshape(axes, axes)
        yield Statement(name, direction_lps=rows[:3, :3].T)


def _voxels(
    path: Path, fields: dict[str, str], sizes: tuple[int, ...], data_start: tuple[int, list[str]]
) -> StoredVoxels:
    kind = fields.get("ElementType", "").removeprefix("MET_").removesuffix("_ARRAY")
    if kind not in TYPES:
        raise UnreadableError(f"its pixel type '{kind}' is not supported")
    msb = {fields.get(name) for name in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")} - {None}
    orders = {_is_true(value) for value in msb} or {False}
    if len(orders) > 1:
        raise UnreadableError("its header states two byte orders")
    channels = parse_integers(fields.get("ElementNumberOfChannels", "1"), 1, "channels")[0]
    packed = _is_true(fields.get("CompressedData", "False"))
    text = not _is_true(fields.get("BinaryData", "True"))
    start, files = _files(path, fields["ElementDataFile"], data_start)
    if packed and len(files) > 1:
        raise UnreadableError("its compressed voxels are in several files")
    size = fields.get("CompressedDataSize")
    return StoredVoxels(
        files,
        np.dtype(TYPES[kind]).newbyteorder(">" if orders == {True} else "<"),
        count_of((*sizes, channels)),
        ZLIB if packed else TEXT if text else RAW,
        start=start,
        skip_bytes=parse_integers(fields.get("HeaderSize", "0"), 1, "HeaderSize")[0],
        packed_bytes=None if size is None else parse_integers(size, 1, "CompressedDataSize")[0],
    )


def _is_true(value: str) -> bool:
    return value[:1] in ("T", "t", "1")


def _files(
    path: Path, named: str, data_start: tuple[int, list[str]]
) -> tuple[int, tuple[Path, ...]]:
    """Return the byte offset of the voxels, and their files."""
    end, listed = data_start
    first, *rest = named.split() or [""]
    if named in ("LOCAL", "Local", "local"):
        return end, (path,)
    if first == "LIST":
        names = [line.strip() for line in listed if line.strip()]
        return 0, tuple(data_file(path, name) for name in names)
    if "%" in first and rest:
        low, high, step = (*map(int, rest[:3]), 1, 1, 1)[:3]
        return 0, tuple(
            data_file(path, numbered_name(first, k)) for k in range(low, high + 1, step)
        )
    return 0, (data_file(path, named),)
