"""Writing and reading of images and labels, and what failed writes leave."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from spinemamba.anatomy.terminology import segment_info
from spinemamba.common.atomic_files import all_or_none, whole_or_nothing
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.seg_nrrd import metadata_fields, write_labels
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import check_output, to_image, write_image

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
GEOMETRY = Geometry((9, 10, 11), (2.5, 0.7, 1.1), (-12.5, 3.25, 700.0), TURN)


def volume(dtype: type = np.int16) -> Volume:
    values = np.random.default_rng(0).integers(0, 120, GEOMETRY.shape)
    return Volume(values.astype(dtype), GEOMETRY)


@pytest.mark.parametrize("name", ["a.nrrd", "a.nii.gz", "a.nii", "a.mha"])
def test_every_format_keeps_voxels_and_geometry(tmp_path: Path, name: str):
    write_image(volume(), tmp_path / name)
    again = read_volume(tmp_path / name)
    assert np.array_equal(again.array, volume().array)
    assert again.geometry.matches(GEOMETRY)


@pytest.mark.parametrize("name", ["a.seg.nrrd", "a.nii.gz", "a.nrrd", "a.mha"])
def test_every_format_keeps_labels(tmp_path: Path, name: str):
    labels = volume().with_array((volume().array % 4 * 7).astype(np.uint8))
    write_labels(labels, tmp_path / name, [segment_info(7), segment_info(14), segment_info(21)])
    again = read_volume(tmp_path / name)
    assert np.array_equal(again.array, labels.array)
    assert again.geometry.matches(GEOMETRY)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_the_header_of_a_segmentation_has_levels_and_colours():
    array = np.zeros((4, 5, 6), np.uint8)
    array[1:3, 2, 3:6] = 20
    fields = metadata_fields(array, [segment_info(20, {"Model": "a|b"}), segment_info(28)])
    assert fields["Segment0_ID"] == "V20"
    assert fields["Segment0_Name"] == "L1"
    assert fields["Segment0_Extent"] == "3 5 2 2 1 2"
    assert "SCT^66794005^L1 vertebra" in fields["Segment0_Tags"]
    assert fields["Segment0_Tags"].endswith("Model:a/b|")
    assert fields["Segment1_Extent"] == "0 -1 0 -1 0 -1"
    assert "99SPINE^T13" in fields["Segment1_Tags"]


def test_integers_keep_a_small_type_and_fractions_are_kept(tmp_path: Path):
    def read_back(array: np.ndarray) -> np.ndarray:
        write_image(volume().with_array(array), tmp_path / "a.nrrd")
        return read_volume(tmp_path / "a.nrrd").array

    whole = volume().array
    for dtype in (np.uint8, np.int32, np.float32, np.float64):
        assert read_back(whole.astype(dtype)).dtype == np.int16
        assert np.array_equal(read_back(whole.astype(dtype)), whole)
    for array in (whole + 0.5, whole.astype(np.int32) + 40000, whole.astype(float) - 40000):
        assert read_back(array).dtype == np.float32
        assert np.array_equal(read_back(array), array)


def test_a_failed_write_leaves_only_the_old_file(tmp_path: Path):
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


def test_a_full_disk_is_named_in_the_message(tmp_path: Path):
    with pytest.raises(UserError) as caught, whole_or_nothing(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert caught.value.code is Code.DISK_FULL


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file sizes are POSIX")
@pytest.mark.parametrize("name", ["a.seg.nrrd", "a.nii.gz", "a.mha"])
def test_a_disk_that_fills_up_while_writing_leaves_no_file(tmp_path: Path, name: str):
    import resource

    labels = volume().with_array((volume().array % 4).astype(np.uint8))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        with pytest.raises(UserError, match="Cannot write") as caught:
            write_labels(labels, tmp_path / name, [segment_info(1)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert caught.value.code is Code.DISK_FULL
    assert list(tmp_path.iterdir()) == []


def test_several_files_are_all_written_or_none(tmp_path: Path):
    paths = [tmp_path / name for name in ("a", "b", "c")]

    def write(names: str) -> None:
        with all_or_none(paths) as partial:
            for path in paths:
                if path.name in names:
                    partial[path].write_text("x")

    with pytest.raises(UserError):
        write("ac")
    assert list(tmp_path.iterdir()) == []
    write("abc")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}


@pytest.mark.parametrize("name", ["a.stl", "a", "in.nrrd/a.nrrd", "folder.nrrd"])
def test_an_unwritable_output_is_refused_early(tmp_path: Path, name: str):
    (tmp_path / "folder.nrrd").mkdir()
    (tmp_path / "in.nrrd").touch()
    with pytest.raises(UserError) as caught:
        check_output(tmp_path / name)
    assert caught.value.code is Code.OUTPUT_BAD


def test_an_image_keeps_its_geometry_in_memory():
    image = to_image(volume())
    assert image.GetSpacing() == (1.1, 0.7, 2.5)
    assert image.GetOrigin() == GEOMETRY.origin_lps_mm
