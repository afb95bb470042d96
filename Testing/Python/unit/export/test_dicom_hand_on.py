"""Contours, measurements and report in DICOM: read back, and checked by dciodvfy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from synthetic_dicom import SERIES, write_series

from spinemamba.anatomy.terminology import segment_info
from spinemamba.cli.main import main
from spinemamba.cli.results import dicom
from spinemamba.common.errors import UserError
from spinemamba.export.dicom_pdf import write_encapsulated_pdf
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.report import print_pdf as printing

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

PDF = b"%PDF-1.4\n%%EOF\n"


@pytest.fixture
def written(tmp_path: Path, monkeypatch) -> tuple[Path, np.ndarray]:
    """Return the folder of all instances, and the labels (z, y, x) on the grid of the series."""
    write_series(tmp_path / "series")
    volume = read_volume(tmp_path / "series")
    array = np.zeros(volume.array.shape, np.uint8)
    array[7:11, 2:8, 3:11] = 20
    array[8:10, 4:6, 6:8] = 0  # a hole
    array[1:5, 2:8, 3:11] = 21
    array[2, 8, 11] = 21  # touches by a corner only
    write_labels(
        volume.with_array(array), tmp_path / "a.seg.nrrd", [segment_info(20), segment_info(21)]
    )
    monkeypatch.setattr(printing, "print_pdf", lambda page: PDF)
    words = ["dicom", str(tmp_path / "a.seg.nrrd"), "--source", str(tmp_path / "series")]
    words += ["--out", str(tmp_path / "out"), "--kinds", *dicom.DICOM_ENDS]
    assert main(words) == 0
    return tmp_path / "out", array


def test_contours_give_the_voxels_of_the_label(written):
    folder, array = written
    data = pydicom.dcmread(folder / "a_rtstruct.dcm")
    assert [roi.ROIName for roi in data.StructureSetROISequence] == ["L1", "L2"]
    slices = {}
    for path in (folder.parent / "series").iterdir():
        image = pydicom.dcmread(path)
        slices[image.SOPInstanceUID] = image
    grid = read_volume(folder.parent / "series").geometry
    centres = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    points = grid.to_lps_mm(centres.reshape(-1, 3)).reshape(centres.shape)
    found = np.zeros(grid.shape, np.uint8)
    for value, roi in zip((20, 21), data.ROIContourSequence, strict=True):
        inside = np.zeros(grid.shape, bool)
        for contour in roi.ContourSequence:
            corners = np.array(contour.ContourData, float).reshape(-1, 3)
            source = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            assert corners[:, 2] == pytest.approx(source.ImagePositionPatient[2])
            assert contour.NumberOfContourPoints == len(corners)
            k = int(np.argmin(np.abs(points[:, 0, 0, 2] - corners[0, 2])))
            # A contour within another one is a hole.
            within = Polygon(corners[:, :2]).contains_points(points[k, ..., :2].reshape(-1, 2))
            inside[k] ^= within.reshape(inside[k].shape)
        found[inside] = value
    np.testing.assert_array_equal(found, array)


def test_measurements_refer_to_the_segments(written):
    folder, array = written
    segments = highdicom.seg.segread(folder / "a_seg.dcm")
    report = highdicom.sr.srread(folder / "a_sr.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["L1", "L2"]
    for number, group in enumerate(groups, 1):
        items = [item for part in group for item in part.ContentSequence]
        reference = next(
            item.ReferencedSOPSequence[0]
            for item in items
            if "ReferencedSOPSequence" in item
            and "ReferencedSegmentNumber" in item.ReferencedSOPSequence[0]
        )
        assert reference.ReferencedSegmentNumber == number
        assert reference.ReferencedSOPInstanceUID == segments.SOPInstanceUID
        values = {m.name.meaning: m.value for m in group.get_measurements()}
        voxels = int((array == 19 + number).sum())
        assert values["Volume"] == pytest.approx(voxels * 2.0 * 1.5 * 0.75 / 1000, abs=1e-3)
        assert values["Uncertainty (95 %) of volume"] > 0
    comments = [str(item.get("TextValue", "")) for item in report.ContentSequence]
    assert any("Levels not verified" in text for text in comments)


def test_all_instances_are_in_the_study_of_the_series_and_in_series_of_their_own(written):
    folder, _ = written
    source = pydicom.dcmread(next((folder.parent / "series").iterdir()))
    found = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    assert len(found) == 4
    assert {data.StudyInstanceUID for data in found} == {source.StudyInstanceUID}
    assert {str(data.PatientID) for data in found} == {source.PatientID}
    series = {data.SeriesInstanceUID for data in found}
    assert len(series) == 4
    assert SERIES not in series
    assert pydicom.dcmread(folder / "a_report.dcm").EncapsulatedDocument.startswith(PDF)


def test_dciodvfy_finds_no_error(written):
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy of dicom3tools is not installed")
    for path in written[0].iterdir():
        done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
        assert not errors, (path.name, errors)


def test_measurements_without_segments_are_refused(tmp_path: Path, capsys):
    words = ["dicom", "a.nrrd", "--source", "s", "--out", str(tmp_path), "--kinds", "sr"]
    assert main(words) == 2
    assert "Add seg to --kinds" in capsys.readouterr().err


def test_a_text_is_no_report(tmp_path: Path):
    with pytest.raises(UserError, match="not a PDF"):
        write_encapsulated_pdf(b"<html>", tmp_path, tmp_path / "a.dcm")


def test_a_pdf_needs_a_browser(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(printing, "find_browser", lambda: None)
    with pytest.raises(UserError, match="Chromium, Chrome or Edge"):
        printing.print_pdf(tmp_path / "page.html")


def test_a_page_is_printed(tmp_path: Path):
    if printing.find_browser() is None:
        pytest.skip("no browser is installed")
    page = tmp_path / "page.html"
    page.write_text("<p>Spine</p>", "utf-8")
    assert printing.print_pdf(page).startswith(b"%PDF-")
