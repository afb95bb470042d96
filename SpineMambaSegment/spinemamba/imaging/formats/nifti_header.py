"""The header of a NIfTI-1 file (nifti1.h of the NIfTI Data Format Working Group)."""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from spinemamba.imaging.formats.image_header import ImageHeader, grid_statement
from spinemamba.imaging.formats.stated_geometry import Statement
from spinemamba.imaging.formats.stored_voxels import (
    GZIP,
    RAW,
    StoredVoxels,
    UnreadableError,
    count_of,
)

Numbers = Callable[[str, int], tuple[float, ...]]
"""Unpacks numbers of a header, given `struct` codes and a byte offset."""

SIZE, SIZE_2 = 348, 540
"""First number (``sizeof_hdr``) in the header of NIfTI-1 and NIfTI-2."""

FIRST_VOXEL = 352
"""Smallest offset of the voxels in a single file."""

UNITS_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 32: "c8", 64: "f8", 128: "3u1", 256: "i1"}
TYPES |= {512: "u2", 768: "u4", 1024: "i8", 1280: "u8", 1792: "c16", 2304: "4u1"}
"""NumPy code of each ``datatype``; a leading digit of 128 and 2304 is the values per voxel."""

FLOAT32_EPSILON = float(np.finfo(np.float32).eps)
MISSING = {
    "spacing_mm": "pixdim is not set",
    "direction_lps": "qform_code and sform_code are 0",
    "origin_lps_mm": "qform_code and sform_code are 0",
}


def read_nifti_header(path: Path) -> ImageHeader:
    """Read the header of a ``.nii`` or ``.nii.gz`` file.

    Raises:
        UnreadableError: If it is not a NIfTI-1 header, or contradictory.
        OSError, EOFError: If the file is truncated or damaged.
    """
    packed = path.suffix.lower() == ".gz"
    with gzip.open(path) if packed else path.open("rb") as file:
        data = file.read(SIZE)
    order = _byte_order(data)
    if data[344:347] != b"n+1":
        raise UnreadableError("it is not a NIfTI-1 file with header and voxels in one")

    def get(code: str, at: int) -> tuple[float, ...]:
        return struct.unpack_from(order + code, data, at)

    unit_mm = UNITS_MM.get(data[123] & 7, 1.0)
    axes, *sizes = get("8h", 40)
    if not 1 <= axes <= 7:
        raise UnreadableError(f"its header states {axes} axes")
    shape = tuple(sizes[:axes])
    voxels = _voxels(path, order, data, count_of(shape))
    return ImageHeader(shape, _statements(get, unit_mm), voxels, MISSING)


def _byte_order(data: bytes) -> str:
    if len(data) < SIZE:
        raise EOFError
    for order in "<>":
        first = struct.unpack_from(order + "i", data)[0]
        if first == SIZE_2:
            raise UnreadableError("it is a NIfTI-2 file; only NIfTI-1 is supported")
        if first == SIZE:
            return order
    raise UnreadableError("it is not a NIfTI file")


def _statements(get: Numbers, unit_mm: float) -> tuple[Statement, ...]:
    handedness, *steps = get("4f", 76)
    pixdim_mm = np.array(steps) * unit_mm
    q_code, s_code = get("2h", 252)
    statements = []
    if s_code > 0:
        rows = np.array(get("12f", 280)).reshape(3, 4) * unit_mm
        matrix, origin = RAS_TO_LPS @ rows[:, :3], RAS_TO_LPS @ rows[:, 3]
        statements.append(grid_statement("sform", matrix, origin))
    if q_code > 0:
        b, c, d, *offset = get("6f", 256)
        direction, rounding_rad = _rotation(b, c, d)
        direction = RAS_TO_LPS @ direction @ np.diag([1, 1, -1 if handedness < 0 else 1])
        origin = tuple(map(float, RAS_TO_LPS @ np.array(offset) * unit_mm))
        statements.append(Statement("qform", None, direction, origin, rounding_rad))
    statements.append(Statement("pixdim", tuple(map(float, pixdim_mm))))
    return tuple(statements)


def _rotation(b: float, c: float, d: float) -> tuple[np.ndarray, float]:
    """Return the rotation of a unit quaternion (a, b, c, d) and its precision in rad.

    The header omits ``a``, which is computed here from the other components.
    """
    rest = 1.0 - (b * b + c * c + d * d)
    if rest < -1e-5 or math.isnan(rest):
        raise UnreadableError(f"its quaternion {b:g} {c:g} {d:g} is not a rotation (qform)")
    a = math.sqrt(max(0.0, rest))
    matrix = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    # Near half a turn, a is the square root of the rounding error of the other components.
    error = 2 * FLOAT32_EPSILON
    return matrix, 2 * min(math.sqrt(error), error / max(a, error))


def _voxels(path: Path, order: str, data: bytes, count: int) -> StoredVoxels:
    code, bits = struct.unpack_from(order + "2h", data, 70)
    start = struct.unpack_from(order + "f", data, 108)[0]
    slope, intercept = struct.unpack_from(order + "2f", data, 112)
    if code not in TYPES:
        raise UnreadableError(f"its pixel type is not supported (datatype {code})")
    each, kind = (int(TYPES[code][0]), TYPES[code][1:]) if code in (128, 2304) else (1, TYPES[code])
    dtype = np.dtype(kind).newbyteorder(order)
    if bits != 8 * each * dtype.itemsize:
        raise UnreadableError(f"its header states datatype {code} and bitpix {bits}, which differ")
    if not start >= FIRST_VOXEL or not float(start).is_integer():
        raise UnreadableError(f"its voxels cannot begin at byte {start:g} (vox_offset)")
    return StoredVoxels(
        (path,),
        dtype,
        count * each,
        GZIP if path.suffix.lower() == ".gz" else RAW,
        skip_bytes=int(start),
        zeroes_non_finite=True,
        scale=_scale(slope, intercept),
    )


def _scale(slope: float, intercept: float) -> tuple[float, float] | None:
    """Return slope and intercept, or None if values are unscaled (slope 0, NaN or infinite)."""
    given = math.isfinite(slope) and slope != 0
    odd = not math.isfinite(intercept) if given else math.isfinite(intercept) and intercept != 0
    if odd:
        raise UnreadableError(
            f"its values cannot be scaled by {slope:g} and {intercept:g} (scl_slope)"
        )
    return (slope, intercept) if given and (slope, intercept) != (1, 0) else None
