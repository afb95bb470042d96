"""Every kind of bad input gives one sentence that says what is wrong, and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from spinemamba.errors import Code, UserError
from spinemamba.image_io import read_volume
from spinemamba.output import write_image
from spinemamba.volume import Geometry, Volume

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


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 99, shape).astype(np.int16)


BAD_INPUT = {
    "missing file": (lambda p: p / "no.nrrd", "not found"),
    "wrong type": (lambda p: text_as_image(p / "letter.docx"), "not an image format"),
    "text called nifti": (lambda p: text_as_image(p / "a.nii.gz"), "damaged"),
    "empty file": (lambda p: empty(p / "a.nrrd"), "0 bytes"),
    "truncated nrrd": (lambda p: truncated(p / "a.nrrd"), "cannot be read"),
    "truncated nifti": (lambda p: truncated(p / "a.nii.gz"), "cannot be read"),
    "truncated plain nifti": (lambda p: truncated(p / "a.nii"), "cannot be read"),
    "2-D": (lambda p: save(p / "a.nrrd", random(40, 40)), "2 dimensions"),
    "4-D": (lambda p: save(p / "a.nii.gz", random(3, 9, 9, 9)), "4 dimensions"),
    "RGB": (
        lambda p: save(p / "a.nrrd", random(9, 9, 9, 3).astype(np.uint8), is_vector=True),
        "3 values per voxel",
    ),
    "NaN": (lambda p: with_value(p / "a.nrrd", np.nan), "1 values that are not numbers"),
    "infinite": (lambda p: with_value(p / "a.nrrd", np.inf), "not numbers"),
    "constant": (lambda p: save(p / "a.nrrd", np.full((9, 9, 9), 7, np.int16)), "the value 7"),
    "one slice": (lambda p: save(p / "a.nrrd", random(1, 40, 40)), "only 1 voxels"),
    "sheared": (lambda p: sheared(p / "a.nrrd"), "right angles"),
    "folder without DICOM": (lambda p: p, "No CT or MR series"),
}


@pytest.mark.parametrize("kind", BAD_INPUT)
def test_bad_input_gives_one_sentence_and_a_remedy(tmp_path: Path, kind: str):
    make, says = BAD_INPUT[kind]
    with pytest.raises(UserError, match=says) as caught:
        read_volume(make(tmp_path))
    assert caught.value.code is Code.INPUT_BAD
    assert caught.value.message.endswith(".")
    assert caught.value.remedy.endswith(".")
    assert "\n" not in str(caught.value)


def test_a_frame_of_one_is_a_volume(tmp_path: Path):
    path = save(tmp_path / "a.nii.gz", random(1, 9, 10, 11))
    assert read_volume(path).array.shape == (9, 10, 11)
