"""Every kind of invalid input gives one sentence with the fault, and a remedy."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import write_image

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


def volume(dtype: type = np.int16) -> Volume:
    values = np.random.default_rng(0).integers(0, 120, (9, 10, 11)).astype(dtype)
    return Volume(values, Geometry((9, 10, 11), (2.5, 0.7, 1.1), (-12.5, 3.25, 700.0), TURN))


def save(path: Path, array: np.ndarray, *, is_vector: bool = False) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=is_vector), str(path))
    return path


def sheared(path: Path) -> Path:
    write_image(volume(), path)
    text = path.read_bytes().replace(
        b"space directions: (", b"space directions: (0.3,0.9,0.4) (", 1
    )
    head, _, rest = text.partition(b"space directions: ")
    line, _, tail = rest.partition(b"\n")
    vectors = b" ".join(line.split(b" ")[:1] + line.split(b" ")[2:])
    path.write_bytes(head + b"space directions: " + vectors + b"\n" + tail)
    return path


def truncated(path: Path) -> Path:
    write_image(volume(), path)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def with_value(path: Path, value: float) -> Path:
    array = volume(np.float32).array.copy()
    array[4, 4, 4] = value
    return save(path, array)


def empty(path: Path) -> Path:
    path.touch()
    return path


def text_as_image(path: Path) -> Path:
    path.write_text("Dear doctor,")
    return path


def halved_scaled_nifti(path: Path) -> Path:
    """Half of the voxels are missing; slope 1 and offset -1024 make ITK read floats."""
    plain = path.with_name("plain.nii")
    write_image(volume(), plain)
    data = bytearray(plain.read_bytes())
    struct.pack_into("<ff", data, 112, 1.0, -1024.0)
    data = bytes(data[: 352 + 9 * 10 * 11])
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def with_header(path: Path, field: str, value: str) -> Path:
    """Change one line of an NRRD header."""
    write_image(
        Volume(volume().array, Geometry((9, 10, 11), (1, 1, 1), (0, 0, 0), np.eye(3))), path
    )
    lines = path.read_bytes().split(b"\n")
    places = [k for k, line in enumerate(lines) if line.startswith(field.encode() + b":")]
    lines[places[0]] = f"{field}: {value}".encode()
    path.write_bytes(b"\n".join(lines))
    return path


def with_nan_origin(path: Path) -> Path:
    write_image(volume(), path)
    data = bytearray(path.read_bytes())
    for offset in (268, 292):  # quaternion's and matrix's shift along x
        struct.pack_into("<f", data, offset, np.nan)
    path.write_bytes(data)
    return path


def without_data(path: Path) -> Path:
    save(path, random(9, 10, 11))
    path.with_suffix(".raw").unlink()
    return path


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 99, shape).astype(np.int16)


BAD_INPUT = {
    "missing file": (lambda p: p / "no.nrrd", "not found"),
    "wrong type": (lambda p: text_as_image(p / "letter.docx"), "not in an image format"),
    "text called nifti": (lambda p: text_as_image(p / "a.nii.gz"), "damaged"),
    "empty file": (lambda p: empty(p / "a.nrrd"), "0 bytes"),
    "truncated nrrd": (lambda p: truncated(p / "a.nrrd"), "cannot be read"),
    "truncated nifti": (lambda p: truncated(p / "a.nii.gz"), "cannot be read"),
    "truncated plain nifti": (lambda p: truncated(p / "a.nii"), "cannot be read"),
    "truncated scaled nifti": (lambda p: halved_scaled_nifti(p / "a.nii"), "cannot be read"),
    "truncated scaled nii.gz": (lambda p: halved_scaled_nifti(p / "a.nii.gz"), "cannot be read"),
    "truncated mha": (lambda p: truncated(p / "a.mha"), "cannot be read"),
    "header without data": (lambda p: without_data(p / "a.mhd"), "cannot be read"),
    "zero-size": (lambda p: with_header(p / "a.nrrd", "sizes", "11 0 9"), "cannot be read"),
    "impossibly large": (
        lambda p: with_header(p / "a.nrrd", "sizes", "99000 99000 99000"),
        "cannot be read",
    ),
    "name too long": (lambda p: p / ("a" * 300 + ".nrrd"), "not found"),
    "2-D": (lambda p: save(p / "a.nrrd", random(40, 40)), "2 dimensions"),
    "4-D": (lambda p: save(p / "a.nii.gz", random(3, 9, 9, 9)), "4 dimensions"),
    "RGB": (
        lambda p: save(p / "a.nrrd", random(9, 9, 9, 3).astype(np.uint8), is_vector=True),
        "3 values per voxel",
    ),
    "complex": (
        lambda p: save(p / "a.nii", random(9, 9, 9).astype(np.complex64)),
        "complex of 32-bit float",
    ),
    "NaN": (lambda p: with_value(p / "a.nrrd", np.nan), "1 values that are not numbers"),
    "infinite": (lambda p: with_value(p / "a.nrrd", np.inf), "not numbers"),
    "constant": (lambda p: save(p / "a.nrrd", np.full((9, 9, 9), 7, np.int16)), "the value 7"),
    "one slice": (lambda p: save(p / "a.nrrd", random(1, 40, 40)), "only 1 voxels"),
    "sheared": (lambda p: sheared(p / "a.nrrd"), "right angles"),
    "voxel size in metres": (
        lambda p: with_header(
            p / "a.nrrd", "space directions", "(0.0007,0,0) (0,0.0007,0) (0,0,0.0025)"
        ),
        "0.0025 x 0.0007 x 0.0007 mm",
    ),
    "place unknown": (lambda p: with_nan_origin(p / "a.nii"), "nan"),
    "folder without DICOM": (lambda p: p, "No CT or MR series"),
}


@pytest.mark.parametrize("kind", BAD_INPUT)
def test_invalid_input_gives_one_sentence_and_a_remedy(tmp_path: Path, kind: str):
    make, says = BAD_INPUT[kind]
    with pytest.raises(UserError, match=says) as caught:
        read_volume(make(tmp_path))
    assert caught.value.code is Code.INPUT_BAD
    assert caught.value.message.endswith(".")
    assert caught.value.remedy.endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is closed to this user"
)
@pytest.mark.parametrize("name", ["a.nrrd", "a.nii.gz"])
def test_a_file_without_read_permission_is_not_called_damaged(tmp_path: Path, name: str):
    write_image(volume(), tmp_path / name)
    (tmp_path / name).chmod(0)
    with pytest.raises(UserError, match="cannot be read"):
        read_volume(tmp_path / name)


def test_an_image_with_one_time_frame_is_a_volume(tmp_path: Path):
    path = save(tmp_path / "a.nii.gz", random(1, 9, 10, 11))
    assert read_volume(path).array.shape == (9, 10, 11)
