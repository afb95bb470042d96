"""Choice of the series and slices of a DICOM folder, and conversion of their values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.formats import dicom
from spinemamba.imaging.read import read_volume

pydicom = pytest.importorskip("pydicom")
import synthetic_dicom as synthetic  # noqa: E402 - needs pydicom

HU = synthetic.stored_values().astype(int) + synthetic.INTERCEPT


def add_localizer(folder: Path, name: str, series: str = synthetic.SERIES) -> None:
    """Add an overview image, of another size and orientation."""
    slice_ = synthetic.make_slice(90, np.zeros((20, 30), np.uint16), series)
    slice_.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    slice_.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    slice_.InstanceNumber = 0
    synthetic.save(slice_, folder / name)


@pytest.mark.parametrize("name", ["000-first.dcm", "zzz-last.dcm"])
def test_a_localizer_in_the_series_is_left_out_and_reported(tmp_path: Path, name: str):
    synthetic.write_series(tmp_path)
    add_localizer(tmp_path, name)
    warned: list[str] = []
    for path in (tmp_path, tmp_path / name):
        assert np.array_equal(read_volume(path, warned.append).array, HU)
    sentence = "1 of the 13 files of the series are localizers or not images and were skipped."
    assert warned == [sentence] * 2


def test_the_lowest_numbered_of_equal_series_is_read(tmp_path: Path):
    other = synthetic.stored_values(2)
    synthetic.write_series(tmp_path, other, synthetic.put(SeriesNumber=11), series="1.2.3.3")
    synthetic.write_series(tmp_path, edit=synthetic.put(SeriesNumber=4))
    warned: list[str] = []
    assert np.array_equal(read_volume(tmp_path, warned.append).array, HU)
    assert warned == [
        "The folder holds 2 series: number 4 (CT, 12 slices, such as 1.2.3.4-000.dcm); number 11 "
        "(CT, 12 slices, such as 1.2.3.3-000.dcm). They are equally large, and the first is used; "
        "to use another, give one of its files instead of the folder."
    ]
    chosen = read_volume(tmp_path / "1.2.3.3-005.dcm", warned.append)
    assert np.array_equal(chosen.array, other.astype(int) + synthetic.INTERCEPT)
    assert len(warned) == 1


def test_a_series_is_preferred_to_a_larger_file_with_frames(tmp_path: Path):
    synthetic.write_series(tmp_path)
    slice_ = synthetic.make_slice(0, np.zeros((10, 14), np.uint16), "1.2.8")
    slice_.NumberOfFrames, slice_.PixelData = 300, slice_.PixelData * 300
    synthetic.save(slice_, tmp_path / "frames.dcm")
    warned: list[str] = []
    assert np.array_equal(read_volume(tmp_path, warned.append).array, HU)
    assert "300 slices, such as frames.dcm" in warned[0]
    with pytest.raises(UserError, match=r"frames.dcm is a DICOM file with several slices"):
        read_volume(tmp_path / "frames.dcm")


@pytest.mark.parametrize(("name", "modality"), [("CT", "ct"), ("MR", "mr"), ("OT", None)])
def test_the_modality_of_a_series_is_kept(tmp_path: Path, name: str, modality: str | None):
    synthetic.write_series(tmp_path, edit=synthetic.put(Modality=name))
    assert read_volume(tmp_path).modality == modality


def test_a_folder_without_series_prints_no_lines_of_the_library(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "broken.dcm").write_bytes(bytes(128) + b"DICM" + bytes(range(200)))
    with pytest.raises(UserError, match="1 files without a readable image"):
        read_volume(tmp_path)
    assert capfd.readouterr() == ("", "")


PAD_UNSIGNED, PAD_SIGNED = 63536, -2000


def corners(stored: np.ndarray, value: int) -> np.ndarray:
    """Return values with padding in two corners of every slice."""
    padded = stored.copy()
    padded[:, :3, :4] = padded[:, -3:, -4:] = np.array(value).astype(stored.dtype)
    return padded


def padding_mask() -> np.ndarray:
    return corners(np.zeros_like(HU), 1) == 1


@pytest.mark.parametrize(
    ("kind", "intercept", "value", "tag"),
    [
        (np.uint16, -1024, PAD_UNSIGNED, PAD_UNSIGNED),
        (np.int16, 0, PAD_SIGNED, PAD_SIGNED),
        (np.int16, -1024, PAD_SIGNED, PAD_SIGNED),
        (np.int16, 0, 32767, 32767),
    ],
    ids=["unsigned", "signed", "signed with intercept", "signed and bright"],
)
def test_padding_becomes_the_lowest_valid_value(
    tmp_path: Path, kind: Any, intercept: int, value: int, tag: int
):
    hu = np.clip(HU, -1000, 1400)
    stored = corners((hu - intercept).astype(kind), value)
    synthetic.write_series(
        tmp_path, stored, synthetic.put(RescaleIntercept=intercept, PixelPaddingValue=tag)
    )
    image = read_volume(tmp_path).array
    inside = ~padding_mask()
    assert np.array_equal(image[inside], hu[inside])
    assert np.unique(image[~inside]).tolist() == [hu[inside].min()]


def test_padding_of_a_ct_is_not_below_air(tmp_path: Path):
    stored = corners(synthetic.stored_values(), PAD_UNSIGNED)
    stored[:, 5, 5] = 0
    synthetic.write_series(
        tmp_path, stored, synthetic.put(RescaleIntercept=-3024, PixelPaddingValue=PAD_UNSIGNED)
    )
    image = read_volume(tmp_path).array
    assert image.min() == -3024
    assert np.unique(image[padding_mask()]).tolist() == [-1024]


def test_a_padding_range_is_padding(tmp_path: Path):
    stored = corners(synthetic.stored_values(), PAD_UNSIGNED)
    stored[:, 0, 0] = PAD_UNSIGNED + 7
    synthetic.write_series(
        tmp_path,
        stored,
        synthetic.put(PixelPaddingValue=PAD_UNSIGNED, PixelPaddingRangeLimit=PAD_UNSIGNED + 9),
    )
    assert read_volume(tmp_path).array.max() == HU[~padding_mask()].max()


def test_valid_values_equal_to_the_padding_value_stay_inside_the_body(tmp_path: Path):
    stored = corners(synthetic.stored_values(), 1024)
    stored[:, 4:6, 6:8] = 1024
    synthetic.write_series(tmp_path, stored, synthetic.put(PixelPaddingValue=1024))
    image = read_volume(tmp_path).array
    assert (image[:, 4:6, 6:8] == 0).all()
    assert np.unique(image[padding_mask()]).tolist() == [image.min()]


def test_a_padding_value_of_the_other_signedness_is_found(tmp_path: Path):
    hu = np.clip(HU, -1000, 1400)
    stored = corners(hu.astype(np.int16), PAD_SIGNED)

    def unsigned_tag(k: int, data: Any) -> None:
        data.add_new(0x00280120, "US", PAD_UNSIGNED)

    synthetic.write_series(
        tmp_path, stored, lambda k, d: (synthetic.put(RescaleIntercept=0)(k, d), unsigned_tag(k, d))
    )
    assert read_volume(tmp_path).array.min() == -1000


def test_too_little_memory_for_a_series_is_reported_as_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    synthetic.write_series(tmp_path)

    class NoMemory(sitk.ImageSeriesReader):
        def Execute(self):  # noqa: N802 - SimpleITK's name
            raise RuntimeError("Failed to allocate memory for image.")

    monkeypatch.setattr(
        dicom, "sitk", SimpleNamespace(**vars(sitk) | {"ImageSeriesReader": NoMemory})
    )
    with pytest.raises(UserError, match="too little free memory") as refusal:
        read_volume(tmp_path)
    assert refusal.value.code is Code.OOM_HOST


def test_a_truncated_compressed_pixel_stream_is_refused(tmp_path: Path):
    def compress(k: int, data: Any) -> None:
        data.compress(pydicom.uid.RLELossless)

    synthetic.write_series(tmp_path / "whole", edit=compress)
    assert np.array_equal(read_volume(tmp_path / "whole").array, HU)

    def cut(k: int, data: Any) -> None:
        compress(k, data)
        if k == 5:
            data.PixelData = pydicom.encaps.encapsulate([data.PixelData[16:120]])

    synthetic.write_series(tmp_path / "cut", edit=cut)
    with pytest.raises(UserError):
        read_volume(tmp_path / "cut")


def test_an_unreadable_dicom_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synthetic.write_series(tmp_path)

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        read_volume(tmp_path)


def test_a_series_is_read_where_standard_error_is_closed(tmp_path: Path, repository: Path):
    synthetic.write_series(tmp_path)
    code = (
        "import os, sys; os.close(2); sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from spinemamba.imaging.read import read_volume\n"
        "print(read_volume(Path(sys.argv[2])).array.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(repository / "SpineMambaSegment"), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(HU.shape)
