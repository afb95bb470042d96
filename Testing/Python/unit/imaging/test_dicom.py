"""Reading of DICOM series: order, geometry, missing slices and gantry tilt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from spinemamba.common.errors import UserError
from spinemamba.imaging.read import read_volume

EVEN = [2.0 * k for k in range(12)]


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 99, shape).astype(np.int16)


def write_dicom(
    folder: Path,
    positions_mm: Sequence[float | tuple[float, float, float]],
    series: str = "1.2.3.4",
    **tags: str,
) -> np.ndarray:
    """Write slices at heights or places; tags such as ``Modality`` replace those of a CT."""
    folder.mkdir(exist_ok=True)
    array = random(len(positions_mm), 12, 14)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k, position in enumerate(positions_mm):
        place = position if isinstance(position, tuple) else (5.0, 6.0, position)
        image = sitk.GetImageFromArray(array[k : k + 1])
        image.SetSpacing((0.8, 0.8, 1.0))
        values = {
            "0008|0060": tags.get("Modality", "CT"),
            "0008|0008": tags.get("ImageType", "ORIGINAL\\PRIMARY\\AXIAL"),
            "0020|000d": "1.2.3",
            "0020|000e": series,
            "0020|0013": str(k),
            "0008|0018": f"{series}.{k + 1}",
            "0020|0032": "\\".join(f"{v:g}" for v in place),
            "0020|0037": tags.get("Orientation", "1\\0\\0\\0\\1\\0"),
            "0020|0052": tags.get("FrameUid", "1.2.9"),
        }
        for key, value in values.items():
            image.SetMetaData(key, value)
        # File names do not give the order.
        writer.SetFileName(str(folder / f"{series}-{(k * 7) % len(positions_mm):03d}.dcm"))
        writer.Execute(image)
    return array


def test_only_a_hash_of_the_frame_of_reference_is_kept(tmp_path: Path):
    for name, uid in (("a", "1.2.9"), ("b", "1.2.9"), ("c", "1.2.10")):
        write_dicom(tmp_path / name, EVEN, FrameUid=uid)
    one, same, other = (read_volume(tmp_path / name).frame for name in "abc")
    assert one == same != other
    assert len(one) == 64
    assert "1.2.9" not in one
    sitk.WriteImage(sitk.GetImageFromArray(random(12, 12, 14)), str(tmp_path / "d.nrrd"))
    assert read_volume(tmp_path / "d.nrrd").frame is None


def test_a_dicom_folder_or_one_of_its_files_gives_the_sorted_series(tmp_path: Path):
    array = write_dicom(tmp_path / "ct", EVEN)
    for path in (tmp_path / "ct", tmp_path / "ct" / "1.2.3.4-003.dcm"):
        image = read_volume(path)
        assert np.array_equal(image.array, array)
        assert image.spacing_mm == pytest.approx((2.0, 0.8, 0.8))
        assert image.geometry.origin_lps_mm == pytest.approx((5, 6, 0))


def test_missing_slices_are_reported_with_their_distances(tmp_path: Path):
    write_dicom(tmp_path / "ct", [2.0 * k for k in range(12) if k != 5])
    with pytest.raises(UserError, match=r"2\.00 to 4\.00 mm"):
        read_volume(tmp_path / "ct")


def test_a_tilted_gantry_is_reported_with_its_angle(tmp_path: Path):
    write_dicom(tmp_path / "ct", [(5, 6 + 0.7 * k, 2.0 * k) for k in range(12)])
    with pytest.raises(UserError, match=r"19\.\d degrees"):
        read_volume(tmp_path / "ct")


def test_slice_positions_rounded_by_the_scanner_are_accepted(tmp_path: Path):
    write_dicom(tmp_path / "ct", [round(0.625 * k, 1) for k in range(20)])
    assert read_volume(tmp_path / "ct").spacing_mm[0] == pytest.approx(11.9 / 19)


def test_a_slight_tilt_is_judged_by_the_shift_of_the_last_slice(tmp_path: Path):
    def tilted(count: int) -> list[tuple[float, float, float]]:
        return [(5, 6 + 0.02 * k, 2.0 * k) for k in range(count)]

    write_dicom(tmp_path / "short", tilted(20))
    assert read_volume(tmp_path / "short").array.shape[0] == 20
    write_dicom(tmp_path / "long", tilted(80))
    with pytest.raises(UserError, match=r"0\.6 degrees"):
        read_volume(tmp_path / "long")


@pytest.mark.parametrize("positions", [[3.0] * 12, [2.0 * (k // 2) for k in range(24)]])
def test_slices_at_the_same_position_are_refused(tmp_path: Path, positions: list[float]):
    write_dicom(tmp_path / "ct", positions)
    with pytest.raises(UserError, match=r"(11|12) of its (12|24) slices .* same position"):
        read_volume(tmp_path / "ct")


def test_slices_of_changing_orientation_are_refused(tmp_path: Path):
    write_dicom(tmp_path, EVEN[:8])
    write_dicom(tmp_path / "turned", EVEN[8:], Orientation="0\\1\\0\\1\\0\\0")
    for path in (tmp_path / "turned").iterdir():
        path.rename(tmp_path / f"turned-{path.name}")
    with pytest.raises(UserError, match="4 of its 12 slices are not parallel"):
        read_volume(tmp_path)


def test_the_largest_of_several_series_is_read_and_reported(tmp_path: Path):
    write_dicom(tmp_path, EVEN)
    array = write_dicom(tmp_path, [*EVEN, 24.0], series="1.2.9")
    warned: list[str] = []
    assert np.array_equal(read_volume(tmp_path, warned.append).array, array)
    assert warned == [
        "The folder holds 2 series: without number (CT, 13 slices, such as 1.2.9-000.dcm); without "
        "number (CT, 12 slices, such as 1.2.3.4-000.dcm). The first is used; to use another, give "
        "one of its files instead of the folder."
    ]
    small = read_volume(tmp_path / "1.2.3.4-000.dcm", warned.append)
    assert small.array.shape[0] == 12


@pytest.mark.parametrize(
    "tags",
    [{"Modality": "PT"}, {"Modality": "SEG"}, {"ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"}],
    ids=["PET", "segmentation", "localiser"],
)
def test_files_that_are_not_a_ct_or_mr_volume_are_skipped(tmp_path: Path, tags: dict[str, str]):
    write_dicom(tmp_path, [*EVEN, 24.0], series="1.2.9", **tags)
    with pytest.raises(UserError, match="No CT or MR series"):
        read_volume(tmp_path)
    array = write_dicom(tmp_path, EVEN)
    assert np.array_equal(read_volume(tmp_path).array, array)


def test_a_damaged_last_slice_is_reported(tmp_path: Path):
    write_dicom(tmp_path, EVEN)
    last = tmp_path / f"1.2.3.4-{11 * 7 % 12:03d}.dcm"
    last.write_bytes(last.read_bytes()[:200])
    warned: list[str] = []
    assert read_volume(tmp_path, warned.append).array.shape[0] == 11
    assert warned == ["1 of 12 .dcm files in the folder have no readable image and were skipped."]


def test_a_dicom_file_needs_no_suffix(tmp_path: Path):
    array = write_dicom(tmp_path, EVEN)
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / f"IM{path.stem[-3:]}")
    for path in (tmp_path, tmp_path / "IM005"):
        assert np.array_equal(read_volume(path).array, array)


def test_sagittal_slices_lie_at_the_positions_of_their_headers(tmp_path: Path):
    places = [(3.0 * k, 6.0, 7.0) for k in range(12)]
    write_dicom(tmp_path, places, Orientation="0\\1\\0\\0\\0\\-1")
    image = read_volume(tmp_path)
    corner = image.geometry.to_lps_mm(np.array([[0, 0, 0], [11, 0, 0], [0, 1, 0]]))
    by_left = corner[np.argsort(corner[:2, 0])]
    np.testing.assert_allclose(by_left, [[0, 6, 7], [33, 6, 7]], atol=1e-6)
    np.testing.assert_allclose(corner[2] - corner[0], [0, 0, -0.8], atol=1e-6)


def test_real_series_are_read_or_refused_with_a_reason(shared_data: Path):
    chest = read_volume(shared_data / "dicom" / "lidc0314")
    assert chest.array.shape == (138, 512, 512)
    assert chest.spacing_mm == pytest.approx((2.0, 0.78125, 0.78125))
    assert read_volume(shared_data / "dicom" / "ts_abdomen").array.shape == (20, 512, 512)
    with pytest.raises(UserError, match=r"1\.14 to 7\.38 mm"):
        read_volume(shared_data / "dicom" / "gantry_tilt_head")
