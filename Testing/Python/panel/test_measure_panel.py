"""The section Measurements: real worker, real scene, real report."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
from check_helpers import add_segments, matrix_of, photograph
from scene_helpers import add_volume

from spinemamba.phantom import PhantomOptions, make_phantom

WIDTH = 360


@pytest.fixture(scope="module")
def spine():
    """A CT of a lumbar spine, and its truth."""
    view = {"spacing_mm": (3.0, 2.0, 2.0), "scale": 0.8, "tight": True}
    return make_phantom(5, PhantomOptions(first="T12", last="Sacrum", **view))


@pytest.fixture
def ready(panel, spine, pump):
    """The panel with a segmented spine and the section open."""
    volume = add_volume(spine.image.array, matrix_of(spine), "Doe John")
    node = add_segments(volume, spine.labels.array.astype(np.uint8), "Spine")
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.outputSelector.setCurrentNode(node)
    panel.refresh()
    panel.ui.measureCollapsibleButton.collapsed = False
    panel.frame.resize(WIDTH, 1900)
    pump(lambda: panel.ui.measureButton.isVisible())
    return panel


def count(class_name: str) -> int:
    return slicer.mrmlScene.GetNumberOfNodesByClass(class_name)


def test_a_disabled_measure_button_says_what_is_missing(panel):
    for button in (panel.ui.measureButton, panel.ui.measureReportButton):
        assert not button.enabled
        assert button.toolTip == "Nothing was segmented yet."
    assert not panel.ui.measureCopyButton.enabled
    assert panel.ui.measureCopyButton.toolTip == "Nothing was measured yet."


def test_measuring_fills_the_table_and_the_scene_with_progress(ready, real_worker, pump):
    values = []
    ready.ui.progressBar.valueChanged.connect(values.append)
    ready.ui.measureButton.click()
    assert ready.runs.isRunning()
    assert not ready.ui.segmentButton.enabled
    pump(lambda: not ready.runs.isRunning(), 120.0)
    assert ready.ui.statusLabel.text.startswith("Measured:"), ready.ui.statusLabel.text
    assert len(values) > 2
    assert count("vtkMRMLTableNode") == 2
    assert count("vtkMRMLMarkupsPlaneNode") == 13  # T12 to L5 have two each, S1 has one
    table = ready.ui.measureTable
    names = [table.item(row, 0).text() for row in range(table.rowCount)]
    assert {"L1-S1", "L1-L5", "T12-S1"} <= set(names)
    rows = {names[row]: [table.item(row, k).text() for k in (1, 2)] for row in range(len(names))}
    assert re.fullmatch(r"\d+\.\d / \d+\.\d / \d+\.\d ± \d+\.\d mm", rows["L3"][0])
    assert re.search(r"\d+ HU", rows["L3"][1])
    assert re.fullmatch(r"\d+\.\d / \d+\.\d / \d+\.\d ± \d+\.\d mm", rows["L3-L4"][0])
    assert re.search(r"slip -?\d+\.\d ± \d+\.\d mm", rows["L3-L4"][1])
    ready.ui.measureCopyButton.click()
    lines = slicer.app.clipboard().text().splitlines()
    cells = [line.split("\t") for line in lines]
    assert {len(row) for row in cells} == {7}
    heights = [row for row in cells if row[0] == "L3" and row[2] == "middle height"]
    assert heights[0][3] in rows["L3"][0]
    assert heights[0][4] == "mm"
    assert float(heights[0][6]) > 0
    photograph(ready, "measurements")
    ready.ui.measureMarkupsBox.click()
    planes = slicer.mrmlScene.GetNodesByClass("vtkMRMLMarkupsPlaneNode")
    planes.UnRegister(None)
    assert not planes.GetItemAsObject(0).GetDisplayVisibility()
    assert list(real_worker.iterdir()) == []


def test_a_report_is_written_without_the_patients_name(ready, real_worker, pump, tmp_path: Path):
    ready.checkSection.measure.saveReport(tmp_path / "report.html")
    pump(lambda: not ready.runs.isRunning(), 180.0)
    assert ready.ui.statusLabel.text.startswith("Measured. Saved report.html.")
    page = re.sub(r'src="[^"]*"', "", (tmp_path / "report.html").read_text("utf-8"))
    assert "L1-S1" in page
    assert "Doe" not in page


def test_cancelling_leaves_scene_and_folder_as_they_were(ready, real_worker, pump, tmp_path: Path):
    ready.checkSection.measure.saveReport(tmp_path / "report.html")
    ready.ui.cancelButton.click()
    pump(lambda: not ready.runs.isRunning(), 60.0)
    assert "Cancelled" in ready.ui.statusLabel.text
    assert count("vtkMRMLTableNode") == 0
    assert list(tmp_path.glob("*.html")) == []
    assert list(real_worker.iterdir()) == []
