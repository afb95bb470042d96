"""Randomly mutated image headers, and an independent reader of what they state."""

from __future__ import annotations

import gzip
import json
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

MODULE = Path(__file__).resolve().parents[3] / "SpineMambaSegment"
SECONDS, MEMORY_BYTES = 10, 1 << 30
"""Limits for reading one small file; the memory is in addition to that of the program."""

CHILD = """
import json, resource, signal, sys, zlib
from pathlib import Path
import numpy as np
from spinemamba.common.errors import UserError
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.seg_nrrd import read_segmentation
pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 1 << 20
limit = pages * resource.getpagesize() + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for name in json.loads(sys.stdin.read()):
    signal.alarm(int(sys.argv[1]))
    try:
        path = Path(name)
        whole = name.endswith(".seg.nrrd")
        volume = read_segmentation(path).layers[0] if whole else read_volume(path)
        grid = volume.geometry
        values = np.ascontiguousarray(volume.array, "<f4")
        axes = np.ravel(grid.direction_lps)
        numbers = [*grid.shape, *grid.spacing_mm, *grid.origin_lps_mm, *axes]
        print(json.dumps([name, "read", list(map(float, numbers)), zlib.crc32(values)]), flush=True)
    except UserError as error:
        print(json.dumps([name, "refused", str(error)]), flush=True)
    except BaseException as error:
        print(json.dumps([name, "raised", repr(error)]), flush=True)
"""


def read_all(paths: list[Path]) -> dict[Path, list[Any]]:
    """Read files in another process, of bounded time and memory; a new one after each crash.

    Returns:
        For each file ["read", geometry, CRC of the values], ["refused", sentence],
        ["raised", exception] or ["died", exit status].
    """
    found: dict[Path, list[Any]] = {}
    while left := [path for path in paths if path not in found]:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(SECONDS), str(MEMORY_BYTES)],
            input=json.dumps([str(path) for path in left]),
            cwd=MODULE,
            capture_output=True,
            text=True,
            check=False,
        )
        for line in done.stdout.splitlines():
            if line.startswith("["):
                name, *rest = json.loads(line)
                found[Path(name)] = rest
        if done.returncode:
            found[next(path for path in left if path not in found)] = ["died", done.returncode]
    return found


def mutated(header: bytes, rng: np.random.Generator, digits: bool) -> bytes:
    """Return a header with one to eight other bytes, or digits in place of digits."""
    out = bytearray(header)
    places = np.arange(len(out))
    if digits:
        places = np.flatnonzero(np.isin(np.frombuffer(header, np.uint8), list(b"0123456789")))
    for place in rng.choice(places, rng.integers(1, 9), replace=False):
        out[place] = rng.integers(48, 58) if digits else rng.integers(0, 256)
    return bytes(out)


def stated(path: Path) -> tuple[list[float], int]:
    """Return geometry and CRC as `read_all` does, from what the bytes of a file say."""
    data = path.read_bytes()
    if path.name.endswith((".nii", ".nii.gz")):
        return _nifti(gzip.decompress(data) if path.suffix == ".gz" else data)
    if path.suffix in (".mha", ".mhd"):
        return _metaimage(data, path.parent)
    return _nrrd(data, path.parent)


def _geometry_and_crc(
    matrix: np.ndarray, origin: np.ndarray, values: np.ndarray
) -> tuple[list[float], int]:
    spacing = np.linalg.norm(matrix, axis=0)
    numbers = [*values.shape, *spacing[::-1], *origin, *np.ravel(matrix / spacing)]
    return list(map(float, numbers)), zlib.crc32(np.ascontiguousarray(values, "<f4"))


def _nifti(data: bytes) -> tuple[list[float], int]:
    order = "<" if data[:4] == struct.pack("<i", 348) else ">"
    dim = struct.unpack_from(order + "8h", data, 40)
    kind = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
    dtype = np.dtype(kind[struct.unpack_from(order + "h", data, 70)[0]]).newbyteorder(order)
    start, slope, shift = struct.unpack_from(order + "3f", data, 108)
    shape = dim[3:0:-1]
    values = np.frombuffer(data, dtype, int(np.prod(shape)), int(start)).reshape(shape)
    if np.isfinite(slope) and slope != 0:
        values = values * np.float64(slope) + shift
    unit = {1: 1000.0, 3: 0.001}.get(data[123] & 7, 1.0)
    lps = np.diag([-1.0, -1.0, 1.0])
    if struct.unpack_from(order + "h", data, 254)[0] > 0:
        rows = lps @ np.array(struct.unpack_from(order + "12f", data, 280)).reshape(3, 4) * unit
        return _geometry_and_crc(rows[:, :3], rows[:, 3], values)
    from scipy.spatial.transform import Rotation

    sign, *steps = struct.unpack_from(order + "4f", data, 76)
    b, c, d, *offset = struct.unpack_from(order + "6f", data, 256)
    turn = Rotation.from_quat([b, c, d, max(0.0, 1 - b * b - c * c - d * d) ** 0.5]).as_matrix()
    matrix = lps @ turn @ np.diag([1, 1, -1 if sign < 0 else 1]) @ np.diag(steps) * unit
    return _geometry_and_crc(matrix, lps @ np.array(offset) * unit, values)


def _metaimage(data: bytes, folder: Path) -> tuple[list[float], int]:
    text, last = re.match(
        rb"(.*?\n?)ElementDataFile *[=:] *([^\r\n]*)\r?\n", data, re.DOTALL
    ).groups()
    field = dict(re.findall(r"^(\w+) *[=:] *(.*?)\s*$", text.decode("latin-1"), re.MULTILINE))
    voxels = data[len(data) - data[::-1].index(last[::-1]) + 1 :] if last == b"LOCAL" else b""
    voxels = voxels or (folder / last.decode()).read_bytes()
    if field.get("CompressedData") == "True":
        voxels = zlib.decompress(voxels)
    shape = tuple(map(int, field["DimSize"].split()))[::-1]
    kinds = {"MET_SHORT": "i2", "MET_USHORT": "u2"}
    big = field["BinaryDataByteOrderMSB"][:1] in "Tt1"
    values = np.frombuffer(voxels, (">" if big else "<") + kinds[field["ElementType"]])

    def row(name: str) -> np.ndarray:
        return np.array(field[name].split(), float)

    matrix = row("TransformMatrix").reshape(3, 3).T @ np.diag(row("ElementSpacing"))
    return _geometry_and_crc(matrix, row("Offset"), values.reshape(shape))


def _nrrd(data: bytes, folder: Path) -> tuple[list[float], int]:
    head, _, voxels = data.partition(b"\n\n")
    field = dict(re.findall(r"^([\w ]+): (.*?)\s*$", head.decode("latin-1"), re.MULTILINE))
    if "data file" in field:
        voxels = (folder / field["data file"]).read_bytes()
    if field["encoding"] in ("gzip", "gz"):
        voxels = gzip.decompress(voxels)
    shape = tuple(map(int, field["sizes"].split()))[::-1]
    kind = {"short": "i2", "unsigned short": "u2"}[field["type"]]
    order = ">" if field["endian"] == "big" else "<"
    values = np.frombuffer(voxels, order + kind).reshape(shape)
    numbers = np.array(re.findall(r"[-+.\deE]+", field["space directions"]), float)
    origin = np.array(re.findall(r"[-+.\deE]+", field["space origin"]), float)
    return _geometry_and_crc(numbers.reshape(3, 3).T, origin, values)
