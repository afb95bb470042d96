"""A DICOM SEG from series with missing attributes or invalid values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.cli import main
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
import synthetic_dicom as synthetic  # noqa: E402 - needs pydicom

TYPE_2 = {
    "PatientID": "",
    "PatientName": "",
    "PatientBirthDate": "",
    "PatientSex": "",
    "StudyID": "",
    "StudyDate": "",
    "StudyTime": "",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
}
SECRET = "XSECRETX"
INVALID = {
    "PatientSex": "UNKNOWN",
    "PatientBirthDate": "unknown",
    "StudyTime": "12:00:00",
    "StudyDate": "2020-01-02",
    "PatientID": "x" * 70,
    "PatientName": "y" * 70,
    "StudyID": "z" * 17,
    "AccessionNumber": "a\\b",
    "PatientAge": "aged",
    "PatientWeight": "heavy",
    "PatientSize": "1" * 20,
    "PatientSexNeutered": "not known at all",
    "StudyDescription": "d" * 65,
    "EthnicGroup": "e" * 17,
    "TimezoneOffsetFromUTC": "f" * 20,
}


def export(folder: Path, tmp_path: Path) -> tuple[int, Any]:
    """Write a DICOM SEG of synthetic labels; return the exit code and the file."""
    grid = read_volume(folder).geometry
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:5, 3:7, 4:9] = BY_NAME["L2"].value
    labels[6:9, 2:7, 4:10] = BY_NAME["L3"].value
    write_image(Volume(labels, grid), tmp_path / "labels.nii.gz")
    out = tmp_path / "seg.dcm"
    code = main(
        [
            "export",
            str(tmp_path / "labels.nii.gz"),
            "--dicom-seg",
            str(out),
            "--source",
            str(folder),
            "--labels",
            "verse",
        ]
    )
    return code, highdicom.seg.segread(out) if out.exists() else None


def assert_right(seg: Any, folder: Path) -> None:
    """Compare the voxels of the file with the labels, slice by slice."""
    sources = [pydicom.dcmread(path) for path in folder.iterdir()]
    sources.sort(key=lambda source: source.ImagePositionPatient[2])
    uids = [source.SOPInstanceUID for source in sources]
    read = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    expected = np.zeros((synthetic.SLICES, synthetic.ROWS, synthetic.COLUMNS, 2), bool)
    expected[2:5, 3:7, 4:9, 0] = expected[6:9, 2:7, 4:10, 1] = True
    assert np.array_equal(read > 0, expected)
    assert seg.StudyInstanceUID == "1.2.3"


@pytest.mark.parametrize("keyword", TYPE_2)
@pytest.mark.parametrize("empty", [None, ""], ids=["absent", "empty"])
def test_an_attribute_that_may_be_empty_is_written_empty(
    tmp_path: Path, keyword: str, empty: str | None
):
    synthetic.write_series(tmp_path / "ct", edit=synthetic.put(**{keyword: empty}))
    code, seg = export(tmp_path / "ct", tmp_path)
    assert code == 0
    assert_right(seg, tmp_path / "ct")
    assert not seg[keyword].value
    kept = (set(TYPE_2) - {keyword}) & set(
        synthetic.make_slice(0, np.zeros((2, 2), np.uint16)).dir()
    )
    assert all(seg[other].value for other in kept)


def test_all_optional_attributes_may_be_absent_together(tmp_path: Path):
    synthetic.write_series(tmp_path / "ct", edit=synthetic.put(**dict.fromkeys(TYPE_2)))
    code, seg = export(tmp_path / "ct", tmp_path)
    assert code == 0
    assert_right(seg, tmp_path / "ct")


@pytest.mark.parametrize("keyword", INVALID)
def test_an_invalid_attribute_is_left_out_and_named_without_its_value(
    tmp_path: Path, keyword: str, capfd: pytest.CaptureFixture[str]
):
    synthetic.write_series(tmp_path / "ct", edit=synthetic.put(**{keyword: INVALID[keyword]}))
    code, seg = export(tmp_path / "ct", tmp_path)
    assert code == 0
    assert_right(seg, tmp_path / "ct")
    assert not seg.get(keyword)
    printed = "".join(capfd.readouterr())
    assert keyword in printed
    assert INVALID[keyword] not in printed


def test_no_message_and_no_log_contains_patient_data(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    values = {keyword: SECRET + "\\" + SECRET for keyword in (*INVALID, *TYPE_2)}
    synthetic.write_series(tmp_path / "ct", edit=synthetic.put(**values))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "logs"))
    (tmp_path / "logs").mkdir()
    assert export(tmp_path / "ct", tmp_path)[0] == 0
    monkeypatch.setattr(
        highdicom.seg, "Segmentation", lambda **given: [][given["source_images"][0].PatientName]
    )
    (tmp_path / "seg.dcm").unlink()
    assert export(tmp_path / "ct", tmp_path) == (2, None)
    printed = "".join(capfd.readouterr())
    assert "highdicom refuses it (TypeError)" in printed
    assert SECRET not in printed
    assert list((tmp_path / "logs").iterdir()) == []


def measures(seg: Any) -> Any:
    return seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]


@pytest.mark.parametrize("stated", [7.0, -1.5, 1, None, ""])
def test_the_slice_distance_is_measured_from_positions(tmp_path: Path, stated: object):
    synthetic.write_series(tmp_path / "ct", edit=synthetic.put(SpacingBetweenSlices=stated))
    code, seg = export(tmp_path / "ct", tmp_path)
    assert code == 0
    assert measures(seg).SpacingBetweenSlices == synthetic.STEP_MM
    assert measures(seg).SliceThickness == 3.0
    assert measures(seg).PixelSpacing == [synthetic.BETWEEN_ROWS_MM, synthetic.BETWEEN_COLUMNS_MM]
    volume = seg.get_volume(combine_segments=True, skip_overlap_checks=True)
    assert volume.spacing == pytest.approx((2.0, 1.5, 0.75))


@pytest.mark.parametrize("stated", [None, "", "0", "thick"])
def test_a_missing_slice_thickness_is_the_slice_distance(tmp_path: Path, stated: object):
    synthetic.write_series(tmp_path / "ct", edit=synthetic.put(SliceThickness=stated))
    code, seg = export(tmp_path / "ct", tmp_path)
    assert code == 0
    assert measures(seg).SliceThickness == synthetic.STEP_MM


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (synthetic.put(StudyInstanceUID=None), "12 of the 12 slices have no StudyInstanceUID"),
        (synthetic.put(FrameOfReferenceUID=""), "12 of the 12 slices have no FrameOfReferenceUID"),
        (synthetic.put(SOPInstanceUID="1.2.3.4.5"), "have the same SOPInstanceUID"),
        (synthetic.put(StudyInstanceUID="study"), "12 of the 12 slices have no StudyInstanceUID"),
        (
            lambda k, data: synthetic.put(StudyInstanceUID=f"1.2.{k + 1}")(k, data),
            "have 12 values of StudyInstanceUID",
        ),
    ],
)
def test_slices_that_cannot_be_referenced_are_refused(
    tmp_path: Path, edit: synthetic.Edit, sentence: str, capfd: pytest.CaptureFixture[str]
):
    synthetic.write_series(tmp_path / "ct", edit=edit)
    assert export(tmp_path / "ct", tmp_path) == (2, None)
    assert sentence in capfd.readouterr().err


@pytest.mark.parametrize("uid", ["13.1.1", "481.1", "1", "7", "4"])
def test_an_unusual_sop_class_gives_a_file_or_a_message(tmp_path: Path, uid: str):
    synthetic.write_series(
        tmp_path / "ct", edit=synthetic.put(SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{uid}")
    )
    code, seg = export(tmp_path / "ct", tmp_path)
    assert code == (0 if seg is not None else 2)
    if seg is not None:
        assert_right(seg, tmp_path / "ct")


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "脊柱^山田"),
        ("GB18030", "脊柱^王"),
        ("", "Plain^Name"),
    ],
)
def test_the_patient_name_is_kept_in_any_character_set(tmp_path: Path, charset: str, name: str):
    synthetic.write_series(
        tmp_path / "ct", edit=synthetic.put(SpecificCharacterSet=charset, PatientName=name)
    )
    code, seg = export(tmp_path / "ct", tmp_path)
    assert code == 0
    assert str(seg.PatientName) == name
