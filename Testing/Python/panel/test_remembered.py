"""Choices that are remembered between sessions: options of the export, and folders of dialogs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import qt
import slicer

DIALOGS = ("getExistingDirectory", "getOpenFileName", "getSaveFileName")


@pytest.fixture
def dialogs(monkeypatch: pytest.MonkeyPatch):
    """Answer every file dialog; returns where they started."""
    started: list[str] = []
    answer = {"path": ""}

    def ask(parent: object, title: str, start: str = "", filters: str = "") -> str:
        started.append(start)
        return answer["path"]

    for name in DIALOGS:
        monkeypatch.setattr(qt.QFileDialog, name, staticmethod(ask))
    return started, answer


def test_the_options_of_an_export_are_those_of_the_last_session(make_panel):
    ui = make_panel().ui
    ui.smoothingSelector.setCurrentIndex(3)
    ui.decimationSelector.setCurrentIndex(1)
    ui.spaceSelector.setCurrentIndex(1)
    ui.objBox.click()
    ui.jointBox.click()
    ui.caseEdit.text = "trial-7"
    ui.caseEdit.editingFinished.emit()
    again = make_panel()
    options = again.exportSection.options()
    assert options.formats == ("stl", "obj")
    assert (options.smoothing, options.decimation) == (0.6, 0.5)
    assert (options.space, options.joint) == ("RAS", True)
    assert again.ui.caseEdit.text == "trial-7"


def test_without_a_last_session_the_export_has_its_defaults(panel):
    options = panel.exportSection.options()
    assert options.formats == ("stl",)
    assert (options.space, options.joint, options.decimation) == ("LPS", False, 0.0)
    assert panel.ui.smoothingSelector.currentIndex == 2
    assert panel.ui.caseEdit.text == "spine"


@pytest.mark.parametrize("word", ["", "9", "extreme", "7.5"])
def test_an_unknown_word_in_the_settings_is_ignored(make_panel, word: str):
    for key in ("Smoothing", "Detail", "Space"):
        slicer.app.settings().setValue(f"SpineMambaSegment/Export/{key}", word)
    ui = make_panel().ui
    assert ui.smoothingSelector.currentIndex == 2
    assert ui.decimationSelector.currentIndex == ui.spaceSelector.currentIndex == 0


def ways(panel) -> dict[str, object]:
    """Return every button of the panel that opens a file dialog, by the kind of the dialog."""
    return {
        "Export": panel.exportSection.chooseFolder,
        "Report": panel.checkSection.measure.chooseReport,
        "Reference": panel.checkSection.compare._chooseReference,
        "Cases": panel.checkSection.compare._chooseFolder,
        "Review": panel.reviewSection.menus.files.chooseOpen,
        "Wheels": panel.setupSection.chooseWheels,
        "Model": panel.setupSection.chooseModel,
    }


@pytest.mark.parametrize(
    "kind", ["Export", "Report", "Reference", "Cases", "Review", "Wheels", "Model"]
)
def test_a_file_dialog_starts_in_the_folder_of_the_last_time(
    panel, make_panel, dialogs, tmp_path: Path, kind: str
):
    started, answer = dialogs
    settings = panel.exportSection._settings
    folder = tmp_path / kind
    folder.mkdir()
    answer["path"] = str(folder / "a.nrrd")
    settings.askFile("any", kind, "")
    other = tmp_path / "other"
    other.mkdir()
    answer["path"] = str(other)
    settings.askFolder("any", "Other")
    answer["path"] = ""  # cancelled
    ways(make_panel())[kind]()
    assert Path(started[-1]) in (folder, folder / "spine_report.html")


def test_a_dialog_that_was_never_used_starts_where_the_last_one_ended(
    panel, dialogs, tmp_path: Path
):
    started, answer = dialogs
    answer["path"] = str(tmp_path / "x.nrrd")
    panel.exportSection._settings.askNewFile("any", "Export", "x", ".nrrd")
    answer["path"] = ""
    panel.setupSection.chooseModel()
    assert started[-1] == str(tmp_path)


def test_a_folder_that_was_deleted_is_not_offered(panel, dialogs, tmp_path: Path):
    started, answer = dialogs
    gone = tmp_path / "gone"
    gone.mkdir()
    answer["path"] = str(gone)
    panel.exportSection._settings.askFolder("any", "Export")
    gone.rmdir()
    answer["path"] = ""
    panel.exportSection.chooseFolder()
    assert started[-1] == ""


@pytest.mark.parametrize(("typed", "path"), [("x", "x.nrrd"), ("x.nrrd", "x.nrrd"), ("", None)])
def test_a_new_file_gets_its_ending(panel, dialogs, tmp_path: Path, typed: str, path: str | None):
    answer = dialogs[1]
    answer["path"] = str(tmp_path / typed) if typed else ""
    found = panel.exportSection._settings.askNewFile("any", "Export", "spine", ".nrrd")
    assert found == (None if path is None else tmp_path / path)
