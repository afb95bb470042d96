from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from spinemamba.errors import UserError
from spinemamba.image_io import read_volume


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 99, shape).astype(np.int16)


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
