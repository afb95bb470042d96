"""The section Review: shortcuts, order, banner, painting, files and scaling."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import numpy as np
import qt
import slicer
from scene_helpers import add_volume

from spinemamba.protocol.result import LabelingResult

PRESS = """
import sys
sys.exit(__import__("pytest").main(["-q", "-p", "no:cacheprovider", sys.argv[1], "-k", "cut_off"]))
"""


@pytest.fixture
def reviewed(panel, volume, fake_worker, pump):
    """The panel after a run: T12, L1 (marked for a look), L2."""
    volume.SetSpacing(1.0, 1.0, 5.0)  # bodies lie 30 mm apart then, as the solver expects
    panel.enter()
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    for name in ("inputs", "segment", "export", "setup"):
        getattr(panel.ui, f"{name}CollapsibleButton").collapsed = True
    slicer.app.processEvents()
    return panel


def press(panel, key: str) -> None:
    """Press a key in the table."""
    for shortcut in panel.ui.reviewFrame.findChildren(qt.QShortcut):
        if shortcut.key.toString() == key:
            shortcut.activated.emit()


def names(panel) -> list[str]:
    table = panel.ui.reviewTable
    return [table.item(row, 1).text() for row in range(table.rowCount)]


def test_keys_j_and_k_select_neighbours_and_key_a_approves(reviewed):
    table = reviewed.reviewSection.table
    press(reviewed, "J")
    press(reviewed, "J")
    assert table.current() == "V20"
    press(reviewed, "K")
    assert table.current() == "V19"
    press(reviewed, "A")
    assert table.current() == "V20"
    assert reviewed.ui.reviewProgressBar.text() == "1 of 3 reviewed"
    press(reviewed, "K")
    press(reviewed, "A")
    assert reviewed.ui.reviewProgressBar.text() == "0 of 3 reviewed"
    press(reviewed, "F")
    assert "flagged" in reviewed.ui.reviewDetailLabel.text


def test_urgent_vertebrae_can_be_sorted_first(reviewed):
    assert names(reviewed) == ["T12", "L1", "L2"]
    reviewed.ui.urgentBox.click()
    assert names(reviewed) == ["L1", "T12", "L2"]


def test_set_level_is_one_step_and_hides_the_banner(reviewed):
    ui = reviewed.ui
    assert ui.reviewBannerLabel.isVisible()
    reviewed.reviewSection.table.goTo("V20")
    assert ui.levelSelector.currentText == "L1"
    ui.levelSelector.setCurrentText("L2")
    ui.solveBox.setChecked(False)
    ui.setLevelButton.click()
    assert "Two vertebrae would be L2" in ui.statusLabel.text
    ui.solveBox.setChecked(True)
    ui.setLevelButton.click()
    assert names(reviewed) == ["L1", "L2", "L3"]
    assert not ui.reviewBannerLabel.isVisible()
    assert ui.undoButton.toolTip == "Undo: Fix level L2"
    ui.undoButton.click()
    assert names(reviewed) == ["T12", "L1", "L2"]
    assert ui.reviewBannerLabel.isVisible()
    ui.redoButton.click()
    assert names(reviewed) == ["L1", "L2", "L3"]


def test_the_review_status_is_the_segment_status_of_slicer(reviewed, pump):
    node = reviewed.ui.outputSelector.currentNode()
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = node.GetSegmentation().GetSegment("V19")
    logic.SetSegmentStatus(segment, logic.Completed)
    pump(lambda: reviewed.ui.reviewProgressBar.text() == "1 of 3 reviewed")
    reviewed.reviewSection.table.goTo("V21")
    reviewed.ui.approveButton.click()
    assert logic.GetSegmentStatus(node.GetSegmentation().GetSegment("V21")) == logic.Completed


def test_painting_uses_slicers_editor_with_rules_for_neighbours(reviewed):
    ui = reviewed.ui
    reviewed.reviewSection.table.goTo("V20")
    assert not ui.paintFrame.isVisible()
    ui.paintButton.click()
    widget = ui.paintFrame.findChild(slicer.qMRMLSegmentEditorWidget)
    parameters = widget.stored["editor"]
    assert parameters.GetSelectedSegmentID() == "V20"
    assert parameters.GetSegmentationNode() is ui.outputSelector.currentNode()
    assert parameters.GetOverwriteMode() == parameters.OverwriteNone
    ui.paintOverBox.click()
    assert parameters.GetOverwriteMode() == parameters.OverwriteAllSegments
    reviewed.reviewSection.table.goTo("V21")
    assert parameters.GetSelectedSegmentID() == "V21"
    ui.paintButton.click()
    assert not widget.stored["observes"]
    assert not widget.stored["keys"]


def test_the_review_is_saved_and_opened_again(reviewed, tmp_path: Path):
    menus, ui = reviewed.reviewSection.menus, reviewed.ui
    menus.actions["shiftDown"].trigger()
    menus.files.saveReview(tmp_path / "x_review.json")
    menus.files.saveCsv(tmp_path / "x_log.csv")
    assert "Shift all down by one" in (tmp_path / "x_log.csv").read_text(encoding="utf-8")
    assert "Doe" not in (tmp_path / "x_review.json").read_text(encoding="utf-8")
    menus.files.openReview(tmp_path / "x_review.json")
    assert "Opened x_review.json" in ui.statusLabel.text
    assert not ui.undoButton.enabled
    (tmp_path / "x_review.json").write_text("{}", encoding="utf-8")
    menus.files.openReview(tmp_path / "x_review.json")
    assert "is not the review" in ui.statusLabel.text


def test_closing_the_scene_empties_the_review(reviewed):
    reviewed.reviewSection.table.goTo("V20")
    slicer.mrmlScene.Clear(0)
    slicer.app.processEvents()
    assert reviewed.ui.reviewTable.rowCount == 0
    assert not reviewed.ui.reviewFrame.enabled
    press(reviewed, "J")


def test_a_second_run_keeps_approved_vertebrae_and_renames_the_rest(reviewed, pump):
    large = add_volume(np.zeros((24, 20, 16), np.int16), np.diag([5.0, 5.0, 5.0, 1.0]), "CT")
    reviewed.ui.inputSelector.setCurrentNode(large)
    reviewed.ui.outputSelector.setCurrentNode(None)
    reviewed.ui.segmentButton.click()
    pump(lambda: not reviewed.runs.isRunning())
    reviewed.reviewSection.menus.actions["shiftDown"].trigger()
    reviewed.reviewSection.table.goTo("V21")
    press(reviewed, "A")
    assert names(reviewed) == ["L1", "L2", "L3"]
    reviewed.ui.segmentButton.click()
    pump(lambda: not reviewed.runs.isRunning())
    assert names(reviewed) == ["L1", "L2", "L3"]
    assert reviewed.ui.reviewProgressBar.text() == "1 of 3 reviewed"


def test_nothing_is_cut_off_at_200_percent_scaling(tmp_path: Path):
    if os.environ.get("QT_SCALE_FACTOR"):
        pytest.skip("runs itself in a process of another scale")
    folder = os.environ.get("SPINEMAMBA_PICTURES", str(tmp_path))
    pictures = Path(folder) / "scale-2"
    pictures.mkdir(exist_ok=True)
    environment = {**os.environ, "QT_SCALE_FACTOR": "2", "SPINEMAMBA_PICTURES": str(pictures)}
    path = str(Path(__file__).with_name("test_layout.py"))
    done = subprocess.run(
        [sys.executable, "-c", PRESS, path], env=environment, capture_output=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()[-2000:]
    assert (pictures / "narrow.png").is_file()


@pytest.fixture
def undecided(reviewed):
    """The panel after a run whose levels may be one or two lower."""
    from SpineMambaSegmentLib.Scene import Provenance

    node = reviewed.ui.outputSelector.currentNode()
    result = Provenance.keptResult(node)
    chains = (("T12", "L1", "L2"), ("T11", "T12", "L1"), ("T10", "T11", "T12"))
    labelings = zip(chains, (0.6, 0.3, 0.1), strict=True)
    result = replace(result, labelings=tuple(LabelingResult(n, p) for n, p in labelings))
    node.SetAttribute(Provenance.RESULT_ATTRIBUTE, json.dumps(result.to_json()))
    reviewed.reviewSection.reload()
    return reviewed


def test_each_naming_has_a_button_and_one_click_uses_it(undecided):
    ui = undecided.ui
    buttons = (ui.keepNamingButton, ui.secondNamingButton, ui.thirdNamingButton)
    assert [button.text for button in buttons] == [
        "Keep: T12 to L2 (60 %)",
        "Use this: T11 to L1 (30 %)",
        "Use this: T10 to T12 (10 %)",
    ]
    assert all(button.isVisible() for button in buttons)
    assert "Count ribs: the last are at T12 for T12 to L2, at L1 for T11 to L1." in (
        ui.reviewBannerLabel.text
    )
    ui.secondNamingButton.click()
    assert names(undecided) == ["T11", "T12", "L1"]
    assert not ui.reviewBannerFrame.isVisible()
    assert ui.undoButton.toolTip == "Undo: Use T11 to L1"
    ui.undoButton.click()
    assert names(undecided) == ["T12", "L1", "L2"]
    assert ui.reviewBannerFrame.isVisible()


def test_keeping_the_naming_of_the_run_ends_the_question(undecided):
    ui = undecided.ui
    ui.keepNamingButton.click()
    assert names(undecided) == ["T12", "L1", "L2"]
    assert not ui.reviewBannerFrame.isVisible()
    ui.undoButton.click()
    assert ui.reviewBannerFrame.isVisible()


def test_the_banner_fits_a_narrow_panel_and_has_no_style_of_its_own(undecided, folder):
    ui = undecided.ui
    for name in ("inputs", "segment", "export", "setup"):
        getattr(ui, f"{name}CollapsibleButton").collapsed = name != "setup"
    undecided.frame.resize(360, 1500)
    slicer.app.processEvents()
    undecided.frame.grab().save(str(folder / "banner.png"))
    assert undecided.frame.minimumSizeHint().width() <= 360
    label = ui.reviewBannerLabel
    assert label.size.height() >= label.heightForWidth(label.size.width())
    assert not ui.reviewBannerIcon.pixmap.isNull()
    styled = [w.name for w in undecided.frame.findChildren(qt.QWidget) if w.styleSheet]
    assert styled == []


def test_a_run_without_alternatives_has_no_buttons(reviewed):
    ui = reviewed.ui
    assert ui.reviewBannerFrame.isVisible()
    assert not ui.keepNamingButton.isVisible()
    assert not ui.secondNamingButton.isVisible()
