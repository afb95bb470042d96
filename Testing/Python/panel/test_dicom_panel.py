"""Segments, measurements and contours as DICOM from the panel."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
from run_helpers import put_python_slicer
from scene_helpers import write_series


@pytest.fixture
def use_commands(fake_worker, tmp_path, monkeypatch):
    """Return a function after which commands are run for real."""
    command = f'exec "{sys.executable}" "$@"'
    return lambda: put_python_slicer(monkeypatch, tmp_path / "real", command)


@pytest.fixture
def finished(panel, volume, use_commands, pump):
    """The panel after a run."""
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    use_commands()
    return panel


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def choose(section, *kinds: str) -> None:
    for kind, box in section.boxes.items():
        box.setChecked(kind in kinds)


def test_without_segments_nothing_can_be_written_and_the_tooltip_says_so(panel):
    section = panel.dicomSection
    assert not section.writeButton.enabled
    assert section.writeButton.toolTip == "Nothing was segmented yet."
    assert not section.cancelButton.enabled


def test_measurements_are_never_written_without_their_segments(finished):
    section = finished.dicomSection
    choose(section, "sr")
    assert section.kinds() == ("seg", "sr")
    choose(section)
    assert not section.writeButton.enabled
    assert section.writeButton.toolTip == "Choose what to write."


def test_segments_contours_and_measurements_of_some_levels_are_written(
    finished, volume, tmp_path, out, pump
):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    section = finished.dicomSection
    write_series(volume, tmp_path / "series")
    assert "folder of its series is asked for" in section.writeButton.toolTip
    choose(section, "seg", "rtstruct", "sr")
    finished.ui.levelsEdit.text = "T12, L1"
    section.write(tmp_path / "series", out)
    assert section.isWriting()
    assert not section.writeButton.enabled
    pump(lambda: not section.isWriting(), seconds=180)
    said = "Saved spine_seg.dcm, spine_rtstruct.dcm, spine_sr.dcm."
    assert finished.ui.statusLabel.text == section.label.text == said
    assert names(out) == ["spine_rtstruct.dcm", "spine_seg.dcm", "spine_sr.dcm"]
    segments = pydicom.dcmread(out / "spine_seg.dcm").SegmentSequence
    assert [item.SegmentLabel for item in segments] == ["T12", "L1"]
    assert pydicom.dcmread(out / "spine_sr.dcm").Modality == "SR"
    contours = pydicom.dcmread(out / "spine_rtstruct.dcm").StructureSetROISequence
    assert [item.ROIName for item in contours] == ["T12", "L1"]


def test_the_series_is_found_in_the_dicom_database(finished, volume, tmp_path, out, monkeypatch):
    section, asked, written = finished.dicomSection, [], []
    uids = write_series(volume, tmp_path / "series")
    volume.SetAttribute("DICOM.instanceUIDs", " ".join(uids))

    class Database:
        def fileForInstance(self, uid: str) -> str:  # noqa: N802 - Slicer's name
            return str(tmp_path / "series" / f"{uids.index(uid)}.dcm")

    def ask(title: str, kind: str):
        asked.append(title)
        return out

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    monkeypatch.setattr(section._settings, "askFolder", ask)
    monkeypatch.setattr(section, "write", lambda *words: written.append(words))
    section.choose()
    assert written == [(tmp_path / "series" / "0.dcm", out)]
    assert asked == ["Folder for the DICOM files"]
    volume.RemoveAttribute("DICOM.instanceUIDs")
    section.choose()
    assert asked[1:] == ["Folder of the DICOM series of this volume", "Folder for the DICOM files"]
    assert written[1] == (out, out)


def test_a_folder_without_a_series_is_named_as_the_reason(finished, tmp_path, out, pump):
    (tmp_path / "empty").mkdir()
    section = finished.dicomSection
    choose(section, "seg")
    section.write(tmp_path / "empty", out)
    pump(lambda: not section.isWriting(), seconds=120)
    assert "No CT or MR series found" in finished.ui.statusLabel.text
    assert "Saved" not in finished.ui.statusLabel.text
    assert names(out) == []


def test_existing_files_are_replaced_only_if_the_user_agrees(finished, out, answer):
    section = finished.dicomSection
    choose(section, "seg")
    (out / "spine_seg.dcm").write_bytes(b"old")
    asked = answer(False)
    section.write(out, out)
    assert "spine_seg.dcm" in asked[0]
    assert not section.isWriting()
    assert (out / "spine_seg.dcm").read_bytes() == b"old"


def test_a_cancelled_export_leaves_no_file(finished, volume, tmp_path, out):
    section = finished.dicomSection
    write_series(volume, tmp_path / "series")
    choose(section, "seg", "sr")
    section.write(tmp_path / "series", out)
    section.cancelButton.click()
    assert not section.isWriting()
    assert section.label.text == "Stopped. No DICOM file was written."
    assert names(out) == []
