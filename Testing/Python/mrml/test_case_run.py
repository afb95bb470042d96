"""Export of corrected cases for training: all files or none."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from spinemamba.common.errors import Code, UserError  # noqa: E402
from spinemamba.imaging.read import read_labels, read_volume  # noqa: E402
from spinemamba.phantom import PhantomOptions, make_phantom  # noqa: E402
from spinemamba.protocol import events  # noqa: E402 - after the skip
from spinemamba.training.data.read_dataset import check_cases  # noqa: E402
from spinemamba.training.layouts.find import find_cases  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Review.ShapeActions import Delete  # noqa: E402
from SpineMambaSegmentLib.Runs.CaseRun import CaseRun, caseName  # noqa: E402
from SpineMambaSegmentLib.Scene import Segments  # noqa: E402
from SpineMambaSegmentLib.Scene.Files import voxelsIn, writeVolume  # noqa: E402

L1, L2, L3 = 20, 21, 22


@pytest.fixture(scope="module")
def phantom():
    options = PhantomOptions(first="L1", last="L3", spacing_mm=(4.0, 3.0, 3.0), tight=True)
    return make_phantom(3, options)


@pytest.fixture
def segmented(phantom, scene, make_volume, tmp_path: Path):
    """A CT of three vertebrae whose name must not leave the scene, and its segments."""
    matrix = np.diag([-3.0, -3.0, 4.0, 1.0])
    matrix[:3, 3] = np.array(phantom.image.geometry.origin_lps_mm) * [-1, -1, 1]
    volume = make_volume(phantom.image.array, matrix)
    volume.SetName("Doe John")
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Doe John spine")
    writeVolume(make_volume(phantom.labels.array.astype(np.int16), matrix), tmp_path / "t.nrrd")
    Segments.readSegmentation(tmp_path / "t.nrrd", node, volume)
    (tmp_path / "t.nrrd").unlink()
    (tmp_path / "run").mkdir()
    (tmp_path / "cases").mkdir()
    return volume, node


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_exported_case_passes_the_checks_of_training(segmented, phantom, tmp_path: Path):
    volume, node = segmented
    ReviewSession(node, volume, "Dr. Roe").apply(Delete(("V22",)))
    files = CaseRun(volume, node, tmp_path / "cases", tmp_path / "run").wait()
    (case,) = find_cases(tmp_path / "cases")
    check_cases([case], lambda text: None)
    assert (case.image, case.labels) == (files.image, files.labels)
    image, labels = read_volume(case.image), read_labels(case.labels)
    np.testing.assert_array_equal(image.array, phantom.image.array)
    truth = phantom.labels.array
    np.testing.assert_array_equal(labels.array, np.where(truth == L3, 0, truth))
    assert image.geometry.matches(phantom.image.geometry)
    log = files.log.read_text(encoding="utf-8")
    assert "Delete" in log
    assert "Dr. Roe" in log
    assert list((tmp_path / "run").iterdir()) == []


def test_exported_names_and_files_contain_no_personal_data(segmented, tmp_path: Path):
    volume, node = segmented
    CaseRun(volume, node, tmp_path / "cases", tmp_path / "run").wait()
    written = files_in(tmp_path / "cases")
    assert len(written) == 3
    for path in written:
        relative = str(path.relative_to(tmp_path))
        bytes_ = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert "Doe" not in relative
        assert b"Doe" not in bytes_
        assert b"1.2.3" not in bytes_


def test_exporting_a_scan_again_replaces_the_earlier_export(segmented, tmp_path: Path):
    volume, node = segmented
    first = CaseRun(volume, node, tmp_path / "cases", tmp_path / "run").wait()
    node.GetSegmentation().GetSegment("V22").SetName("L4")
    second = CaseRun(volume, node, tmp_path / "cases", tmp_path / "run").wait()
    assert first == second
    assert len(files_in(tmp_path / "cases")) == 3
    assert set(np.unique(read_labels(second.labels).array)) == {0, L1, L2, 23}


def test_different_scans_have_different_names():
    array = np.arange(27_000, dtype=np.int16).reshape(30, 30, 30)
    other = array.copy()
    other[3, 3, 3] += 1
    assert caseName(array) == caseName(array.copy())
    assert caseName(array) != caseName(other)
    assert caseName(array).isalnum()


def test_vertebrae_that_are_not_approved_cause_a_warning(segmented, tmp_path: Path):
    volume, node = segmented
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetSegmentStatus(node.GetSegmentation().GetSegment("V20"), logic.Completed)
    run = CaseRun(volume, node, tmp_path / "cases", tmp_path / "run")
    (warning,) = [event for event in run.newEvents() if isinstance(event, events.Warning)]
    assert warning.message == "Not approved yet: L2, L3."
    run.stopNow()


def test_a_cancelled_export_keeps_the_earlier_one(segmented, tmp_path: Path):
    volume, node = segmented
    files = CaseRun(volume, node, tmp_path / "cases", tmp_path / "run").wait()
    before = {path: path.read_bytes() for path in files_in(tmp_path / "cases")}
    node.GetSegmentation().RemoveSegment("V20")
    run = CaseRun(volume, node, tmp_path / "cases", tmp_path / "run")
    while not any(isinstance(event, events.Hello) for event in run.newEvents()):
        pass
    run.stopNow()
    assert {path: path.read_bytes() for path in files_in(tmp_path / "cases")} == before
    assert files.labels in before
    assert list((tmp_path / "run").iterdir()) == []


def test_an_mr_is_refused_because_training_reads_ct_only(segmented, make_volume, tmp_path: Path):
    volume, node = segmented
    array, grid = voxelsIn(volume)
    # MR has no values below zero.
    mr = make_volume(np.abs(array).astype(np.int16), grid.ijkToRas)
    with pytest.raises(UserError, match="CT") as caught:
        CaseRun(mr, node, tmp_path / "cases", tmp_path / "run").wait()
    assert caught.value.code is Code.INPUT_BAD
    assert files_in(tmp_path / "cases") == []


def test_two_vertebrae_of_one_level_are_refused_at_once(segmented, tmp_path: Path):
    volume, node = segmented
    node.GetSegmentation().GetSegment("V22").SetName("L1")
    with pytest.raises(UserError, match="named L1"):
        CaseRun(volume, node, tmp_path / "cases", tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(segmented, tmp_path: Path):
    volume, node = segmented
    (tmp_path / "cases" / "rawdata").write_text("a file where the folder should be")
    with pytest.raises(UserError) as caught:
        CaseRun(volume, node, tmp_path / "cases", tmp_path / "run").wait()
    assert caught.value.code is Code.OUTPUT_BAD
    assert len(files_in(tmp_path / "cases")) == 1
