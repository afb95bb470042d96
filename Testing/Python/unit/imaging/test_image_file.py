"""Image files with missing, damaged or non-finite voxels are refused."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.seg_nrrd import read_segmentation
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import to_image, write_image

GRID = Geometry((9, 10, 11), (2.5, 0.75, 1.125), (-12.5, 3.25, 70.0), np.eye(3))
VALUES = np.random.default_rng(0).integers(-900, 900, GRID.shape).astype(np.int16)
RAW = VALUES.astype("<i2").tobytes()


def compressed(folder: Path, name: str) -> tuple[bytes, bytes]:
    """Return header and compressed voxels of an image; of NIfTI all is compressed."""
    write_image(Volume(VALUES, GRID), folder / name)
    data = (folder / name).read_bytes()
    mark = {".nrrd": b"\n\n", ".mha": b"LOCAL\n"}.get(Path(name).suffix)
    end = 0 if mark is None else data.index(mark) + len(mark)
    return data[:end], data[end:]


def again(text: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return compressed bytes with changed content."""
    return gzip.compress(change(gzip.decompress(text)))


def without_size(head: bytes) -> bytes:
    return re.sub(rb"CompressedDataSize = \d+\n", b"", head)


def with_size(head: bytes, size: int) -> bytes:
    return re.sub(rb"(CompressedDataSize = )\d+", rb"\g<1>%d" % size, head)


CHANGES: dict[str, tuple[str, Callable[[bytes, bytes], bytes], str]] = {
    "zeros behind, nii.gz": ("a.nii.gz", lambda head, data: data + b"\0" * 3000, ""),
    "two members, nii.gz": (
        "a.nii.gz",
        lambda head, data: b"".join(
            gzip.compress(part) for part in re.split(b"(?=n[+]1)", gzip.decompress(data))
        ),
        "",
    ),
    "bytes behind, nii.gz": ("a.nii.gz", lambda head, data: data + b"x", "damaged or cut off"),
    "cut off, nii.gz": ("a.nii.gz", lambda head, data: data[:-9], "damaged or cut off"),
    "checksum, nii.gz": (
        "a.nii.gz",
        lambda head, data: data[:-8] + b"\0" * 4 + data[-4:],
        "damaged or cut off",
    ),
    "too long, nii.gz": (
        "a.nii.gz",
        lambda head, data: again(data, lambda text: text + b"ab"),
        "more than the 1980 bytes",
    ),
    "too long with zeros, nii.gz": (
        "a.nii.gz",
        lambda head, data: again(data, lambda text: text + b"\0\0"),
        "more than the 1980 bytes",
    ),
    "too short, nii.gz": (
        "a.nii.gz",
        lambda head, data: again(data, lambda text: text[:-2]),
        "1978 of the 1980 bytes",
    ),
    "not compressed, nii.gz": (
        "a.nii.gz",
        lambda head, data: gzip.decompress(data),
        "not of the type that its name states",
    ),
    "zeros behind, nrrd": ("a.nrrd", lambda head, data: head + data + b"\0" * 3000, ""),
    "two members, nrrd": (
        "a.nrrd",
        lambda head, data: head + gzip.compress(RAW[:999]) + gzip.compress(RAW[999:]),
        "",
    ),
    "bytes behind, nrrd": ("a.nrrd", lambda head, data: head + data + b"x", "damaged or cut off"),
    "cut off, nrrd": ("a.nrrd", lambda head, data: head + data[:-3], "damaged or cut off"),
    "too long, nrrd": (
        "a.nrrd",
        lambda head, data: head + gzip.compress(RAW + b"ab"),
        "more than the 1980 bytes",
    ),
    "too short, nrrd": (
        "a.nrrd",
        lambda head, data: head + gzip.compress(RAW[:-2]),
        "1978 of the 1980 bytes",
    ),
    "raw with more, nrrd": (
        "a.nrrd",
        lambda head, data: head.replace(b"gzip", b"raw") + RAW + b"\0",
        "more than the 1980 bytes",
    ),
    "hexadecimal, nrrd": (
        "a.nrrd",
        lambda head, data: head.replace(b"gzip", b"hex") + RAW.hex().encode(),
        "",
    ),
    "no size, mha": ("a.mha", lambda head, data: without_size(head) + data, "CompressedDataSize"),
    "size too small, mha": (
        "a.mha",
        lambda head, data: with_size(head, 100) + data,
        "damaged or cut off",
    ),
    "size too large, mha": (
        "a.mha",
        lambda head, data: with_size(head, 9999) + data,
        "its header states 9999",
    ),
    "nothing to inflate, mha": (
        "a.mha",
        lambda head, data: head + b"\0" * 8 + data[8:],
        "damaged or cut off",
    ),
    "far too many voxels, mha": (
        "a.mha",
        lambda head, data: head.replace(b"11 10 9", b"1500 1500 700") + data,
        "cannot hold the 3150000000",
    ),
    "too many voxels, mha": (
        "a.mha",
        lambda head, data: head.replace(b"11 10 9", b"11 10 10") + data,
        "1980 of the 2200 bytes",
    ),
    "too few voxels, mha": (
        "a.mha",
        lambda head, data: head.replace(b"11 10 9", b"11 10 8") + data,
        "more than the 1760 bytes",
    ),
}


@pytest.mark.parametrize("fault", CHANGES)
def test_a_file_with_missing_or_damaged_voxels_is_refused(tmp_path: Path, fault: str, capfd):
    name, change, says = CHANGES[fault]
    (tmp_path / name).write_bytes(change(*compressed(tmp_path, name)))
    if says:
        with pytest.raises(UserError, match=says) as caught:
            read_volume(tmp_path / name)
        assert caught.value.code is Code.INPUT_BAD
        assert f"{name} cannot be read" in caught.value.message
    else:
        assert np.array_equal(read_volume(tmp_path / name).array, VALUES)
    assert capfd.readouterr() == ("", "")


def test_damaged_labels_and_segmentations_are_refused_too(tmp_path: Path):
    head, data = compressed(tmp_path, "a.seg.nrrd")
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    (tmp_path / "a.seg.nrrd").write_bytes(head + damaged)
    for read in (read_labels, read_segmentation):
        with pytest.raises(UserError, match="damaged or cut off"):
            read(tmp_path / "a.seg.nrrd")


def test_two_files_of_the_same_name_have_their_own_voxels(tmp_path: Path):
    other = Volume(VALUES[::-1].copy(), GRID)
    write_image(Volume(VALUES, GRID), tmp_path / "a.nii.gz")
    write_image(other, tmp_path / "a.nii")
    assert np.array_equal(read_volume(tmp_path / "a.nii.gz").array, VALUES)
    assert np.array_equal(read_volume(tmp_path / "a.nii").array, other.array)


SPACE = (
    "NRRD0005\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: {}\n"
    "space directions: {}\nkinds: {}\nspace origin: (-12.5,3.25,70)\nendian: little\n"
    "encoding: raw\nSegment0_ID:=V20\nSegment0_Name:=L1\nSegment0_LabelValue:=1\n\n"
)
AXES = "(1.125,0,0) (0,0.75,0) (0,0,2.5)"


@pytest.mark.parametrize("kind", ["list", "vector"])
@pytest.mark.parametrize("at", ["first", "last"])
def test_a_non_spatial_axis_of_length_one_is_dropped(tmp_path: Path, kind: str, at: str):
    def row(one: str, three: str) -> str:
        return f"{one} {three}" if at == "first" else f"{three} {one}"

    kinds = row(kind, "domain domain domain")
    header = SPACE.format(row("1", "11 10 9"), row("none", AXES), kinds)
    (tmp_path / "a.nrrd").write_bytes(header.encode() + RAW)
    volume = read_volume(tmp_path / "a.nrrd")
    assert np.array_equal(volume.array, VALUES)
    assert volume.geometry.matches(GRID)


def test_a_segmentation_of_two_layers_is_read(tmp_path: Path):
    header = SPACE.format("2 11 10 9", f"none {AXES}", "list domain domain domain")
    layers = np.stack([VALUES % 2, VALUES % 3], axis=-1).astype("<i2")
    (tmp_path / "a.seg.nrrd").write_bytes(header.encode() + layers.tobytes())
    found = read_segmentation(tmp_path / "a.seg.nrrd").layers
    assert len(found) == 2
    assert all(np.array_equal(layer.array, layers[..., k]) for k, layer in enumerate(found))


def save(array: np.ndarray, path: Path) -> None:
    """Write an image that may hold NaN, which the product never writes."""
    sitk.WriteImage(to_image(Volume(array, GRID)), str(path), True)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_nan_outside_the_scan_becomes_the_lowest_value(tmp_path: Path, name: str):
    warned: list[str] = []
    array = VALUES.astype(np.float32)
    array[:2] = np.nan
    array[5, 0, 0] = np.nan
    save(array, tmp_path / name)
    found = read_volume(tmp_path / name, warned.append).array
    assert np.array_equal(found, np.where(np.isnan(array), np.nanmin(array), array))
    assert [text.split(" at ")[0] for text in warned] == [f"221 voxels of {name}"]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize(
    ("value", "place"),
    [(np.nan, np.s_[4, 4, 4]), (np.inf, np.s_[0]), (-np.inf, np.s_[4, 4])],
    ids=["NaN", "inf", "-inf"],
)
def test_nan_inside_the_scan_and_infinity_are_refused(
    tmp_path: Path, name: str, value: float, place: tuple
):
    array = VALUES.astype(np.float32)
    array[place] = value
    save(array, tmp_path / name)
    count = int(np.sum(~np.isfinite(array)))
    with pytest.raises(UserError, match=f"{count} values that are not numbers"):
        read_volume(tmp_path / name)


def test_scaled_values_follow_the_header_beside_nan_too(tmp_path: Path):
    array = VALUES.astype(np.float32)
    array[0] = np.nan
    save(array, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[112:120] = np.array([2.0, -1024.0], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    found = read_volume(tmp_path / "a.nii").array
    wanted = 2 * array - 1024
    assert np.array_equal(found, np.where(np.isnan(wanted), np.nanmin(wanted), wanted))
    # ITK treats such a small slope as no slope.
    data[112:120] = np.array([1e-17, 0.0], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(UserError, match="read differently from how they are stored"):
        read_volume(tmp_path / "a.nii")


def test_scaled_labels_are_read_as_integers(tmp_path: Path):
    labels = (VALUES % 3 * 11).astype(np.int16)
    slope = 22 / 65535  # as nibabel stores labels of floats in an integer type
    save(np.rint(labels / slope - 32768).astype(np.int16), tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[112:120] = np.array([slope, 32768 * slope], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    found = read_labels(tmp_path / "a.nii").array
    assert found.dtype == np.int16
    assert np.array_equal(found, labels)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_labels_with_nan_are_refused(tmp_path: Path, name: str):
    array = (VALUES % 3).astype(np.float32)
    array[0] = np.nan
    save(array, tmp_path / name)
    with pytest.raises(UserError, match="not labels, such as nan"):
        read_labels(tmp_path / name)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Failed to allocate memory for image."),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize("read", [read_volume, read_labels, read_segmentation])
def test_too_little_memory_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, read: Callable
):
    write_image(Volume(VALUES, GRID), tmp_path / "a.nrrd")

    def fail(path: str) -> None:
        raise error

    monkeypatch.setattr(sitk, "ReadImage", fail)
    with pytest.raises(UserError, match="too little free memory") as caught:
        read(tmp_path / "a.nrrd")
    assert caught.value.code is Code.OOM_HOST


def test_too_little_memory_for_writing_is_not_called_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*arguments: object, **named: object) -> None:
        raise RuntimeError("Failed to allocate memory for image.")

    monkeypatch.setattr(sitk, "WriteImage", fail)
    with pytest.raises(UserError, match="too little free memory") as caught:
        write_image(Volume(VALUES, GRID), tmp_path / "a.nrrd")
    assert caught.value.code is Code.OOM_HOST
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
@pytest.mark.parametrize(
    "arguments",
    [
        ["segment", "{}", "o.nii.gz"],
        ["evaluate", "{}", "{}"],
        ["export", "{}", "--dicom-seg", "o.dcm", "--source", "."],
    ],
)
def test_a_path_that_is_not_unicode_gives_a_message(tmp_path: Path, arguments: list[str]):
    path = os.fsencode(tmp_path) + b"/b\xff"
    os.mkdir(path)  # noqa: PTH102
    write_image(Volume(VALUES, GRID), tmp_path / "a.nii.gz")
    os.rename(tmp_path / "a.nii.gz", path + b"/seg\xfe.nii.gz")  # noqa: PTH104
    command = [a.encode().replace(b"{}", path + b"/seg\xfe.nii.gz") for a in arguments]
    module = Path(__file__).resolve().parents[4] / "SpineMambaSegment"
    done = subprocess.run(
        [sys.executable.encode(), b"-m", b"spinemamba", *command],
        cwd=module,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"is not valid UTF-8 text" in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_image_written_by_the_library_is_read_in_every_type(tmp_path: Path):
    for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"):
        array = (np.abs(VALUES) % 100).astype(kind)
        for name in ("a.nii.gz", "a.nrrd", "a.mha"):
            save(array, tmp_path / name)
            assert np.array_equal(read_volume(tmp_path / name).array, array), (kind, name)


@pytest.mark.parametrize("read", [read_volume, read_labels, read_segmentation])
def test_no_reader_passes_a_non_unicode_path_to_itk(read: Callable):
    with pytest.raises(UserError, match="is not valid UTF-8 text"):
        read(Path("a\udcff.nrrd"))
