"""Image files with random changes of the header or a flipped bit of the compressed data."""

from __future__ import annotations

import gzip
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from mutated_headers import mutated, read_all, stated

from spinemamba.anatomy.terminology import segment_info
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import to_image, write_image

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX"),
]

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
GRID = Geometry((18, 10, 12), (2.5, 0.75, 1.125), (-12.5, 3.25, 70.0), TURN)
HEADERS = {"a.nii": 50, "a.nii.gz": 40, "a.nrrd": 30, "a.nhdr": 25, "a.mha": 30, "a.mhd": 25}
"""Number of changed headers of each format."""

FLIPS = 25
NEAR_VOX = 0.1
"""Tolerance of corners if a header states the geometry twice with rounding."""


def image() -> Volume:
    values = np.random.default_rng(0).integers(-900, 1900, GRID.shape)
    return Volume(values.astype(np.int16), GRID)


def write_detached(volume: Volume, path: Path) -> None:
    """Write a compressed image in any format; some formats have a separate voxel file."""
    sitk.WriteImage(to_image(volume), str(path), useCompression=True)


def split(path: Path) -> tuple[bytes, bytes]:
    """Return header and voxels; a detached header has no voxels."""
    data = path.read_bytes()
    if path.name.endswith(".nii.gz"):
        data = gzip.decompress(data)
    if path.name.startswith("a.nii"):
        return data[:352], data[352:]
    marks = {".nrrd": b"\n\n", ".mha": b"LOCAL\n"}
    end = data.index(mark) + len(mark) if (mark := marks.get(path.suffix)) else len(data)
    return data[:end], data[end:]


def changed_headers(folder: Path, name: str, count: int) -> Iterator[Path]:
    """Write files with changed headers; the originals are compressed if the format allows it."""
    rng = np.random.default_rng(len(name) * 1000 + count)
    write_detached(image(), folder / name)
    header, voxels = split(folder / name)
    for number in range(count):
        other = mutated(header, rng, digits=number % 2 == 0 and not name.startswith("a.nii"))
        path = folder / f"{number:03d}{name[1:]}"
        data = other + voxels
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        yield path


def same(one: list[Any], two: list[Any]) -> bool:
    """Return whether values are equal, and corners up to rounding."""
    corners = []
    for numbers in (one[0], two[0]):
        shape, spacing = np.array(numbers[:3]), np.array(numbers[3:6])
        axes = np.reshape(numbers[9:], (3, 3)) * spacing[::-1]
        unit = np.array(list(np.ndindex(2, 2, 2)))
        corners.append(np.array(numbers[6:9]) + (unit * (shape[::-1] - 1)) @ axes.T)
    near = np.abs(corners[0] - corners[1]).max() < NEAR_VOX * max(one[0][3:6])
    return one[1] == two[1] and one[0][:3] == two[0][:3] and near


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[Path], dict]]:
    """Files of each format, the original last, and the outcome of reading them."""
    made = {}
    for name, count in HEADERS.items():
        folder = tmp_path_factory.mktemp("headers")
        made[name] = [*changed_headers(folder, name, count), folder / name]
    found = read_all([path for paths in made.values() for path in paths])
    return {name: (paths, found) for name, paths in made.items()}


@pytest.mark.parametrize(
    ("name", "number"), [(name, k) for name, count in HEADERS.items() for k in range(count)]
)
def test_a_changed_header_is_refused_or_read_as_it_states(
    read: dict[str, tuple[list[Path], dict]], outcome: Callable, name: str, number: int
):
    paths, found = read[name]
    kind, *what = found[paths[number]]
    as_made, *original = found[paths[-1]]
    assert as_made == "read"
    right = kind == "read" and (same(what, original) or same(what, list(stated(paths[number]))))
    result = "right" if right else "refused" if kind == "refused" else "anything else"
    outcome(f"header {name[1:]}", result)
    assert result != "anything else", (kind, what)


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[Path], dict]]:
    """Files with one bit flipped behind the header, the original last, and their outcomes."""
    rng = np.random.default_rng(15)
    made = {}
    for name in ("a.nii.gz", "a.nrrd", "a.mha", "a.seg.nrrd"):
        folder = tmp_path_factory.mktemp("flips")
        path = folder / name
        if name == "a.seg.nrrd":
            labels = image().with_array((image().array % 4 + 20).astype(np.uint8))
            write_labels(labels, path, [segment_info(value) for value in (20, 21, 22, 23)])
        else:
            write_image(image(), path)
        data = path.read_bytes()
        start = 0 if name.endswith(".gz") else len(split(path)[0])
        made[name] = []
        for number, place in enumerate(rng.integers(start, len(data), FLIPS)):
            other = bytearray(data)
            other[place] ^= 1 << rng.integers(8)
            made[name].append(folder / f"{number:03d}{name[1:]}")
            made[name][-1].write_bytes(other)
        made[name].append(path)
    found = read_all([path for paths in made.values() for path in paths])
    return {name: (paths, found) for name, paths in made.items()}


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.seg.nrrd"])
@pytest.mark.parametrize("number", range(FLIPS))
def test_a_flipped_bit_is_detected_or_harmless(
    flipped: dict[str, tuple[list[Path], dict]], outcome: Callable, name: str, number: int
):
    paths, found = flipped[name]
    kind, *what = found[paths[number]]
    as_made, *original = found[paths[-1]]
    assert as_made == "read"
    right = kind == "read" and same(what, original)
    result = "right" if right else "refused" if kind == "refused" else "anything else"
    outcome(f"bit of {name[1:]}", result)
    assert result != "anything else", (kind, what)


def test_a_header_without_its_voxels_allocates_no_memory_for_them(
    tmp_path: Path, outcome: Callable
):
    sizes, far = " ".join(map(str, GRID.shape[::-1])).encode(), (1500, 1500, 700)
    paths = []
    for name in HEADERS:
        folder = tmp_path / name
        folder.mkdir()
        write_detached(image(), folder / name)
        header, voxels = split(folder / name)
        if name.startswith("a.nii"):
            header = header[:42] + struct.pack("<3h", *far) + header[48:]
        else:
            header = header.replace(sizes, " ".join(map(str, far)).encode())
        data = header + voxels
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        paths.append(folder / name)
    found = read_all(paths)
    for path in paths:
        refused = found[path][0] == "refused" and "3150000000" in found[path][1]
        outcome("size of the voxels", "refused" if refused else "anything else")
        assert refused, found[path]
