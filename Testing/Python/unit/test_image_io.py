from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from spinemamba.errors import Code, UserError
from spinemamba.image_io import check_output, read_volume, to_image, whole_or_nothing, write_image
from spinemamba.segnrrd import header, write_labels
from spinemamba.terminology import segment_info
from spinemamba.volume import Geometry, Volume

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
GEOMETRY = Geometry((9, 10, 11), (2.5, 0.7, 1.1), (-12.5, 3.25, 700.0), TURN)


def volume(dtype: type = np.int16) -> Volume:
    values = np.random.default_rng(0).integers(0, 120, GEOMETRY.shape)
    return Volume(values.astype(dtype), GEOMETRY)


@pytest.mark.parametrize("name", ["a.nrrd", "a.nii.gz", "a.nii", "a.mha"])
def test_every_format_brings_back_voxels_and_geometry(tmp_path: Path, name: str):
    write_image(volume(), tmp_path / name)
    again = read_volume(tmp_path / name)
    assert np.array_equal(again.array, volume().array)
    assert again.geometry.matches(GEOMETRY)


@pytest.mark.parametrize("name", ["a.seg.nrrd", "a.nii.gz", "a.nrrd", "a.mha"])
def test_labels_come_back_from_every_format(tmp_path: Path, name: str):
    labels = volume().with_array((volume().array % 4 * 7).astype(np.uint8))
    write_labels(labels, tmp_path / name, [segment_info(7), segment_info(14), segment_info(21)])
    again = read_volume(tmp_path / name)
    assert np.array_equal(again.array, labels.array)
    assert again.geometry.matches(GEOMETRY)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_the_header_of_a_segmentation_names_places_and_colours():
    array = np.zeros((4, 5, 6), np.uint8)
    array[1:3, 2, 3:6] = 20
    fields = header(array, [segment_info(20, {"Model": "a|b"}), segment_info(28)])
    assert fields["Segment0_ID"] == "V20"
    assert fields["Segment0_Name"] == "L1"
    assert fields["Segment0_Extent"] == "3 5 2 2 1 2"
    assert "SCT^66794005^L1 vertebra" in fields["Segment0_Tags"]
    assert fields["Segment0_Tags"].endswith("Model:a/b|")
    assert fields["Segment1_Extent"] == "0 -1 0 -1 0 -1"
    assert "99SPINE^T13" in fields["Segment1_Tags"]


def test_whole_numbers_stay_small_and_fractions_stay_fractions(tmp_path: Path):
    write_image(volume(np.float64), tmp_path / "f.nrrd")
    write_image(volume(np.uint8), tmp_path / "u.nrrd")
    assert read_volume(tmp_path / "f.nrrd").array.dtype == np.float32
    assert read_volume(tmp_path / "u.nrrd").array.dtype == np.int16


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with whole_or_nothing(path) as partial:
            partial.write_text("ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        interrupted()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_named(tmp_path: Path):
    with pytest.raises(UserError) as caught, whole_or_nothing(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert caught.value.code is Code.DISK_FULL


@pytest.mark.parametrize("name", ["a.stl", "nowhere/a.nrrd", "folder.nrrd"])
def test_an_output_that_cannot_be_written_is_refused_early(tmp_path: Path, name: str):
    (tmp_path / "folder.nrrd").mkdir()
    with pytest.raises(UserError) as caught:
        check_output(tmp_path / name)
    assert caught.value.code is Code.OUTPUT_BAD


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


def write_dicom(folder: Path, positions_mm: list[float], shift_mm: float = 0.0) -> np.ndarray:
    """Write CT slices at heights, each shifted sideways by so much from the last."""
    folder.mkdir()
    array = random(len(positions_mm), 12, 14)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k, height in enumerate(positions_mm):
        image = sitk.GetImageFromArray(array[k : k + 1])
        image.SetSpacing((0.8, 0.8, 1.0))
        tags = {
            "0008|0060": "CT",
            "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
            "0020|000d": "1.2.3",
            "0020|000e": "1.2.3.4",
            "0020|0013": str(k),
            "0008|0018": f"1.2.3.4.{k + 1}",
            "0020|0032": f"5\\{6 + k * shift_mm}\\{height}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        # File names say nothing about the order.
        writer.SetFileName(str(folder / f"{(k * 7) % len(positions_mm):03d}.dcm"))
        writer.Execute(image)
    return array


def test_a_dicom_folder_and_a_file_in_it_give_the_series_in_order(tmp_path: Path):
    array = write_dicom(tmp_path / "ct", [2.0 * k for k in range(12)])
    for path in (tmp_path / "ct", tmp_path / "ct" / "003.dcm"):
        image = read_volume(path)
        assert np.array_equal(image.array, array)
        assert image.spacing_mm == pytest.approx((2.0, 0.8, 0.8))
        assert image.geometry.origin_lps_mm == pytest.approx((5, 6, 0))


def test_missing_slices_are_told_with_their_distances(tmp_path: Path):
    write_dicom(tmp_path / "ct", [2.0 * k for k in range(12) if k != 5])
    with pytest.raises(UserError, match=r"2\.00 to 4\.00 mm"):
        read_volume(tmp_path / "ct")


def test_a_tilted_gantry_is_told_with_its_angle(tmp_path: Path):
    write_dicom(tmp_path / "ct", [2.0 * k for k in range(12)], shift_mm=0.7)
    with pytest.raises(UserError, match=r"19\.\d degrees"):
        read_volume(tmp_path / "ct")


def test_real_series_read_or_say_why_not(shared_data: Path):
    assert read_volume(shared_data / "dicom" / "ts_abdomen").array.shape == (20, 512, 512)
    with pytest.raises(UserError, match=r"1\.14 to 7\.38 mm"):
        read_volume(shared_data / "dicom" / "gantry_tilt_head")


def test_an_image_keeps_its_geometry_in_memory():
    image = to_image(volume())
    assert image.GetSpacing() == (1.1, 0.7, 2.5)
    assert image.GetOrigin() == GEOMETRY.origin_lps_mm
