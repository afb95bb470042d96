"""Export of surfaces and DICOM SEG from the section Export."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
import slicer.util


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """Every question; the answer is yes."""
    questions: list[str] = []
    monkeypatch.setattr(
        slicer.util, "confirmOkCancelDisplay", lambda text: questions.append(text) or True
    )
    return questions


@pytest.fixture
def finished(panel, volume, fake_worker, pump):
    """The panel after a run, with its section Export open."""
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    panel.ui.exportCollapsibleButton.collapsed = False
    return panel


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_without_segments_no_surface_can_be_exported(panel):
    assert not panel.ui.exportButton.enabled
    assert panel.ui.exportButton.toolTip == "Nothing was segmented yet."
    assert not panel.ui.exportCancelButton.enabled


def test_each_vertebra_gets_its_files_and_findings_are_shown(finished, asked, tmp_path, pump):
    folder = tmp_path / "out"
    folder.mkdir()
    finished.ui.caseEdit.text = "Case 7"
    finished.ui.glbBox.checked = True
    finished.exportSection.exportSurfaces(folder)
    assert finished.exportSection.isExporting()
    assert finished.ui.exportCancelButton.enabled
    assert not finished.ui.exportButton.enabled
    pump(lambda: not finished.exportSection.isExporting())
    stems = ("Case_7_T12", "Case_7_L1", "Case_7_L2")
    wanted = [f"{stem}.{suffix}" for stem in stems for suffix in ("glb", "stl")]
    assert names_in(folder) == sorted([*wanted, "manifest.csv", "manifest.json"])
    assert asked == ["Not approved: T12, L1, L2. Export them anyway? The manifest marks them."]
    values = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert values["unreviewed_accepted"] is True
    assert finished.ui.statusLabel.text == "3 vertebrae were written."
    assert finished.ui.exportLabel.visible
    assert finished.ui.exportButton.enabled
    if pictures := os.environ.get("SPINEMAMBA_PICTURES"):
        finished.frame.resize(360, 1100)
        slicer.app.processEvents()
        finished.frame.grab().save(str(Path(pictures) / "export.png"))


def test_a_reviewed_spine_is_exported_without_a_question(finished, asked, tmp_path, pump):
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segmentation = finished.ui.outputSelector.currentNode().GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        logic.SetSegmentStatus(segmentation.GetSegment(segment_id), logic.Completed)
    (tmp_path / "out").mkdir()
    finished.exportSection.exportSurfaces(tmp_path / "out")
    pump(lambda: not finished.exportSection.isExporting())
    assert asked == []
    values = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert values["unreviewed_accepted"] is None
    assert all(entry["reviewed"] for entry in values["vertebrae"])
    finished.exportSection.exportSurfaces(tmp_path / "out")
    pump(lambda: not finished.exportSection.isExporting())
    assert asked == ["Replace 3 files, such as spine_T12.stl?"]


@pytest.mark.parametrize("way", ["button", "scene", "module"])
def test_a_stopped_export_leaves_complete_files(finished, asked, tmp_path, pump, way):
    folder = tmp_path / "out"
    folder.mkdir()
    finished.exportSection.exportSurfaces(folder)
    pump(lambda: (folder / "spine_T12.stl").exists())
    if way == "button":
        finished.ui.exportCancelButton.click()
    elif way == "scene":
        slicer.mrmlScene.Clear(0)
    else:
        finished.stop()
    assert not finished.exportSection.isExporting()
    values = json.loads((folder / "manifest.json").read_text("utf-8"))
    listed = [file["name"] for entry in values["vertebrae"] for file in entry["files"]]
    assert names_in(folder) == sorted([*listed, "manifest.csv", "manifest.json"])
    assert 1 <= len(listed) < 3
    assert "vertebrae were written." in finished.ui.exportLabel.text


def test_declining_the_question_writes_nothing(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: False)
    finished.exportSection.exportSurfaces(tmp_path)
    assert not finished.exportSection.isExporting()
    assert list(tmp_path.glob("*.stl")) == []


def test_a_deleted_folder_is_reported_with_a_remedy(finished, asked, tmp_path):
    finished.exportSection.exportSurfaces(tmp_path / "away")
    assert finished.ui.statusLabel.text.startswith("OUTPUT_BAD: The folder does not exist")
    assert not finished.exportSection.isExporting()


class Database:
    """What is used of Slicer's DICOM database."""

    def __init__(self, path: Path):
        self.path = path

    def fileForInstance(self, uid: str) -> str:  # noqa: N802 - Slicer's name
        return str(self.path)


def test_dicom_seg_is_disabled_for_a_volume_not_from_dicom(finished):
    assert not finished.ui.dicomButton.enabled
    assert finished.ui.dicomButton.toolTip == "The volume was not loaded from DICOM."


def test_a_dicom_seg_is_written_in_the_background(finished, volume, tmp_path, pump, monkeypatch):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    from run_helpers import put_python_slicer
    from scene_helpers import write_series

    put_python_slicer(monkeypatch, tmp_path / "real", f'exec "{sys.executable}" "$@"')
    uids = write_series(volume, tmp_path / "series")
    database = Database(tmp_path / "series" / "0.dcm")
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    volume.SetAttribute("DICOM.instanceUIDs", " ".join(uids))
    finished.refresh()
    assert finished.ui.dicomButton.enabled
    finished.exportSection.exportDicom(tmp_path / "spine.dcm")
    assert finished.exportSection.isExporting()
    pump(lambda: not finished.exportSection.isExporting(), seconds=120)
    assert finished.ui.statusLabel.text == "Saved spine.dcm."
    written = pydicom.dcmread(tmp_path / "spine.dcm")
    assert [item.SegmentLabel for item in written.SegmentSequence] == ["T12", "L1", "L2"]
    assert written.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"


def test_deleted_dicom_files_are_reported(finished, volume, tmp_path, monkeypatch):
    gone = Database(tmp_path / "gone.dcm")
    monkeypatch.setattr(slicer, "dicomDatabase", gone, raising=False)
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    finished.exportSection.exportDicom(tmp_path / "spine.dcm")
    assert "Import the series into the DICOM database again." in finished.ui.statusLabel.text
    assert not finished.exportSection.isExporting()


@pytest.mark.parametrize(
    ("text", "levels"),
    [("", "T12 L1 L2"), (" L1 ", "L1"), ("T12-L1", "T12 L1"), ("T12, L2", "T12 L2")],
)
@pytest.mark.usefixtures("asked")
def test_surfaces_of_chosen_levels_only_are_written(finished, tmp_path, pump, text, levels):
    folder = tmp_path / "out"
    folder.mkdir()
    finished.ui.levelsEdit.text = text
    finished.exportSection.exportSurfaces(folder)
    pump(lambda: not finished.exportSection.isExporting())
    written = {path.stem for path in folder.glob("*.stl")}
    assert written == {f"spine_{level}" for level in levels.split()}


@pytest.mark.parametrize("text", ["L9", "L2-L1", "T12-", "T5"])
def test_levels_that_are_not_there_are_refused(finished, tmp_path, text):
    finished.ui.levelsEdit.text = text
    finished.exportSection.exportSurfaces(tmp_path / "out")
    assert not finished.exportSection.isExporting()
    assert text in finished.ui.statusLabel.text
    assert not list(tmp_path.glob("out/*"))


def test_small_loose_pieces_are_kept_if_asked(finished):
    assert finished.exportSection.options().crumbs_mm3 == 100
    finished.ui.crumbsBox.click()
    assert finished.exportSection.options().crumbs_mm3 == 0
