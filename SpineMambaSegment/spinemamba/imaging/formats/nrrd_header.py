"""The header of an NRRD file (Teem, "Definition of NRRD File Format")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spinemamba.imaging.formats.image_header import (
    ImageHeader,
    add_field,
    data_file,
    grid_statement,
    numbered_name,
    parse_integers,
    parse_numbers,
)
from spinemamba.imaging.formats.stated_geometry import Statement
from spinemamba.imaging.formats.stored_voxels import (
    GZIP,
    HEX,
    RAW,
    TEXT,
    StoredVoxels,
    UnreadableError,
    count_of,
)

LONGEST_HEADER_BYTES = 1 << 24
"""Segmentations with many segments have long headers."""

TYPES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, "
    "int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
KINDS = {name: kind for kind, names in TYPES.items() for name in names.split(", ")}
ENCODINGS = {"raw": RAW, "gz": GZIP, "gzip": GZIP, "hex": HEX}
ENCODINGS |= {"txt": TEXT, "text": TEXT, "ascii": TEXT}
SPACES = {
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "scanner-xyz": (1, 1, 1),
}
"""Signs that convert the axes of a space to LPS. As in ITK, scanner axes count as LPS, and so do
those of 4-D images, which ITK writes without the name of a space."""

UNITS_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001, "micron": 0.001, "\u00b5m": 0.001}
UNITS_MM |= {"millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0, "micrometer": 0.001}
NO_UNIT = {"", "none", "???"}
MISSING = {
    "spacing_mm": "no space directions",
    "direction_lps": "no space directions in a space of the patient, such as "
    "left-posterior-superior",
    "origin_lps_mm": "no space origin in a space of the patient",
}


def read_nrrd_header(path: Path) -> ImageHeader:
    """Read the header of an ``.nrrd`` or ``.nhdr`` file.

    Raises:
        UnreadableError: If it is not an NRRD header, or contradictory.
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        text = file.read(LONGEST_HEADER_BYTES)
    if not text.startswith(b"NRRD"):
        raise UnreadableError("it is not an NRRD file")
    fields, end, listed = _fields(text)
    axes = parse_integers(fields.get("dimension", ""), 1, "dimension")[0]
    sizes = parse_integers(fields.get("sizes", ""), axes, "sizes")
    count_of(sizes)
    vectors = _vectors(fields, axes)
    in_space = [k for k in range(axes) if vectors[k] is not None] if any(vectors) else range(axes)
    others = [k for k in range(axes) if k not in in_space and sizes[k] > 1]
    return ImageHeader(
        tuple(sizes[k] for k in in_space),
        tuple(_statements(fields, [v for v in vectors if v is not None])),
        _voxels(path, fields, count_of(sizes), (end, listed)),
        MISSING,
        _unit_mm(fields),
        in_order=others in ([], [0]),
    )


def _fields(text: bytes) -> tuple[dict[str, str], int, list[str]]:
    """Return the fields, the end of the header in bytes, and the data files of a LIST."""
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    listed: list[str] = []
    end = 0
    for number, raw in enumerate(text.split(b"\n")):
        end += len(raw) + 1
        line = raw.decode("utf-8", "replace").rstrip("\r")
        if not line:
            break
        if number == 0 or line.startswith("#"):
            continue
        if fields.get("datafile", "").startswith("LIST"):
            listed.append(line.strip())
            continue
        name, mark, value = re.match(r"([^:]*)(:=|:|)(.*)", line, re.DOTALL).groups()
        if mark == ":=":
            add_field(pairs, name, value)
        elif mark:
            add_field(fields, name.replace(" ", "").lower(), value.strip())
    return fields, end, listed


def _vectors(fields: dict[str, str], axes: int) -> list[tuple[float, ...] | None]:
    """Return the space direction of each axis, None for an axis that is not spatial."""
    text = fields.get("spacedirections")
    if text is None:
        return [None] * axes
    vectors = re.findall(r"none|\(([^)]*)\)", text)
    if len(vectors) != axes:
        raise UnreadableError(f"its header states {len(vectors)} space directions for {axes} axes")
    return [_vector(one) if one else None for one in vectors]


def _vector(text: str) -> tuple[float, ...]:
    parts = text.strip(" ()").split(",")
    return parse_numbers(" ".join(parts), len(parts), "a vector")


def _statements(fields: dict[str, str], vectors: list[tuple[float, ...]]) -> Iterator[Statement]:
    if "spacings" in fields:
        spacings = [float(word) for word in fields["spacings"].split()]
        yield Statement("spacings", tuple(s for s in spacings if s == s)[:3])
    signs = _signs(fields)
    lengths = {len(vector) for vector in vectors}
    if len(lengths) != 1 or min(lengths) < 3 or len(vectors) < 3:
        return
    matrix = np.array(vectors)[:3, :3].T
    if signs is None:
        yield Statement("space directions", grid_statement("", matrix, None).spacing_mm)
        return
    yield grid_statement("space directions", np.diag(signs) @ matrix, None)
    if "spaceorigin" in fields:
        origin = signs * np.array(_vector(fields["spaceorigin"])[:3])
        yield Statement("space origin", origin_lps_mm=tuple(map(float, origin)))


def _signs(fields: dict[str, str]) -> np.ndarray | None:
    """Return the signs that convert the header's space to LPS; None if it is not anatomical."""
    name = fields.get("space", "").lower().removesuffix("-time")
    if not name and fields.get("spacedimension") == "4":
        name = "lps"
    return np.array(SPACES[name], float) if name in SPACES else None


def _unit_mm(fields: dict[str, str]) -> float:
    text = f"{fields.get('spaceunits', '')} {fields.get('units', '')}"
    words = set(re.findall(r'"([^"]*)"', text)) - NO_UNIT
    spatial = words - {"s", "ms", "sec", "second", "seconds"}
    if not spatial <= set(UNITS_MM) or len({UNITS_MM[word] for word in spatial}) > 1:
        raise UnreadableError(f"its header states lengths in {' and '.join(sorted(spatial))}")
    return UNITS_MM[spatial.pop()] if spatial else 1.0


def _voxels(
    path: Path, fields: dict[str, str], count: int, data_start: tuple[int, list[str]]
) -> StoredVoxels:
    kind, encoding = fields.get("type", "").lower(), fields.get("encoding", "").lower()
    if kind not in KINDS:
        raise UnreadableError(f"its pixel type '{kind}' is not supported")
    if encoding not in ENCODINGS:
        raise UnreadableError(f"its encoding '{encoding}' is not supported; raw and gzip are")
    detached = fields.get("datafile", "")
    files = _files(path, detached, data_start[1]) if detached else (path,)
    order = ">" if fields.get("endian", "").lower() == "big" else "<"
    return StoredVoxels(
        files,
        np.dtype(KINDS[kind]).newbyteorder(order),
        count,
        ENCODINGS[encoding],
        start=0 if detached else data_start[0],
        skip_lines=parse_integers(fields.get("lineskip", "0"), 1, "line skip")[0],
        skip_bytes=parse_integers(fields.get("byteskip", "0"), 1, "byte skip")[0],
    )


def _files(path: Path, named: str, listed: list[str]) -> tuple[Path, ...]:
    if named.startswith("LIST"):
        return tuple(data_file(path, name) for name in listed if name)
    first, *rest = named.split()
    if "%" in first and len(rest) >= 3:
        low, high, step = map(int, rest[:3])
        last = high + (1 if step > 0 else -1)
        return tuple(data_file(path, numbered_name(first, k)) for k in range(low, last, step))
    return (data_file(path, named),)
