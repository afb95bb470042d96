"""Calibration, hips and follow-up in the panel: real worker, real scene."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
import vtk
from check_helpers import add_segments, matrix_of, photograph
from scene_helpers import add_volume

from spinemamba.imaging.write import write_image
from spinemamba.phantom import PhantomOptions, make_phantom

WIDTH = 380
SHIFT = np.array([10.0, -20.0, 30.0])


@pytest.fixture(scope="module")
def spine():
    """A CT of a lumbar spine with sacrum, and its truth."""
    view = {"spacing_mm": (3.0, 2.0, 2.0), "scale": 0.8, "tight": True}
    return make_phantom(5, PhantomOptions(first="L3", last="Sacrum", **view))


@pytest.fixture
def ready(panel, spine, pump):
    """The panel with a segmented spine and the section open."""
    volume = add_volume(spine.image.array, matrix_of(spine), "Doe John")
    node = add_segments(volume, spine.labels.array.astype(np.uint8), "Now")
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.outputSelector.setCurrentNode(node)
    panel.refresh()
    panel.ui.measureCollapsibleButton.collapsed = False
    section = panel.checkSection
    section.given.button.collapsed = section.followUp.button.collapsed = False
    panel.frame.resize(WIDTH, 1900)
    pump(lambda: panel.ui.measureButton.isVisible())
    return panel


def enter(section, *texts: str) -> None:
    for edit, text in zip(section.edits, texts, strict=False):
        edit.text = text
        edit.editingFinished.emit()


def heads_of(node) -> tuple[np.ndarray, np.ndarray]:
    """Return two points left and right below the segments, in RAS."""
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    middle = np.array([bounds[:2].mean(), bounds[3], bounds[4]])
    aside = np.array([85.0, 0.0, 0.0])
    return middle - aside, middle + aside


def click(section, points, pump) -> None:
    """Click in the views, as Slicer's markups widget does."""
    for point in points:
        section._clicks.markups.AddControlPoint(vtk.vtkVector3d(*point))
    pump(lambda: section._clicks is None)


def test_calibration_and_hips_are_measured_and_stay_in_the_scene(ready, real_worker, pump):
    section, ui = ready.checkSection.given, ready.ui
    enter(section, "0,8", "5", "3")
    section.markButton.click()
    assert section.markButton.text == "Stop marking"
    click(section, heads_of(ui.outputSelector.currentNode()), pump)
    parameters = slicer.mrmlScene.GetSingletonNode("SpineMambaSegment", "vtkMRMLScriptedModuleNode")
    assert parameters.GetParameter("CalibrationSlope") == "0,8"
    hips = parameters.GetNodeReference("Hips")
    assert hips.GetName() == "Femoral heads"
    assert slicer.mrmlScene.GetFirstNodeByName("SpineMamba clicks") is None
    ui.measureButton.click()
    pump(lambda: not ready.runs.isRunning(), 120.0)
    assert ui.statusLabel.text.startswith("Measured:"), ui.statusLabel.text
    table = ui.measureTable
    rows = {
        table.item(row, 0).text(): [table.item(row, k).text() for k in (1, 2)]
        for row in range(table.rowCount)
    }
    assert {"Pelvic incidence", "Pelvic tilt", "Sacral slope"} <= set(rows)
    assert "mg/mL" in rows["L4"][1]
    assert "\N{PLUS-MINUS SIGN}" in rows["Pelvic incidence"][0]
    photograph(ready, "given")
    # The values of a scene are shown again.
    parameters.SetParameter("CalibrationSlope", "0.9")
    assert section.edits[0].text == "0.9"
    slicer.mrmlScene.RemoveNode(hips)
    assert section.given().hipsNode is None


def test_an_invalid_calibration_is_told_at_once_and_measures_nothing(ready, pump):
    section = ready.checkSection.given
    enter(section, "0.8")
    assert "calibration is not valid" in section.problem.text
    ready.ui.measureButton.click()
    assert not ready.runs.isRunning()
    assert "calibration is not valid" in ready.ui.statusLabel.text
    enter(section, "0.8", "5")
    assert section.problem.text == ""


def test_marking_can_be_stopped_and_changes_nothing(ready):
    section = ready.checkSection.given
    count = slicer.mrmlScene.GetNumberOfNodes()
    section.markButton.click()
    section.markButton.click()
    assert section.markButton.text == "Mark femoral heads"
    assert slicer.mrmlScene.GetNumberOfNodes() == count
    section.markButton.click()
    ready.exit()
    assert slicer.mrmlScene.GetNumberOfNodes() == count


def earlier(spine):
    """Add the same spine as if it had been scanned elsewhere before."""
    matrix = matrix_of(spine)
    matrix[:3, 3] += SHIFT
    volume = add_volume(spine.image.array, matrix, "Doe John before")
    return volume, add_segments(volume, spine.labels.array.astype(np.uint8), "Then")


def test_a_follow_up_needs_an_earlier_result_and_says_so(ready, spine):
    section = ready.checkSection.followUp
    for button in (section.compareButton, section.pageButton):
        assert not button.enabled
        assert button.toolTip == "Choose an earlier segmentation or result file."
    section.selector.setCurrentNode(ready.ui.outputSelector.currentNode())
    assert not section.compareButton.enabled
    _volume, node = earlier(spine)
    section.selector.setCurrentNode(node)
    assert section.compareButton.enabled


def test_a_follow_up_puts_changes_and_matches_into_the_scene(
    ready, spine, real_worker, pump, tmp_path
):
    # Not before the host runs.
    from SpineMambaSegmentLib.Scene import FollowUpNodes

    section, node = ready.checkSection.followUp, ready.ui.outputSelector.currentNode()
    _volume, then = earlier(spine)
    section.selector.setCurrentNode(then)
    values = []
    ready.ui.progressBar.valueChanged.connect(values.append)
    section.savePage(tmp_path / "follow_up.html")
    pump(lambda: not ready.runs.isRunning(), 180.0)
    assert ready.ui.statusLabel.text == "Compared. Saved follow_up.html.", ready.ui.statusLabel.text
    assert values == sorted(values)
    assert len(set(values)) > 3
    assert section.summary.text.endswith("numbers changed beyond their uncertainty.")
    nodes = FollowUpNodes.nodesOf(node)
    tables = [one for one in nodes if one.IsA("vtkMRMLTableNode")]
    assert [table.GetName() for table in tables] == ["Now changes", "Now matched vertebrae"]
    assert tables[0].GetNumberOfRows() > 20
    # The same spine at another place: each match moves it from there to here.
    moves = [one for one in nodes if one.IsA("vtkMRMLLinearTransformNode")]
    assert len(moves) == tables[1].GetNumberOfRows() > 1
    for move in moves:
        matrix = vtk.vtkMatrix4x4()
        move.GetMatrixTransformToParent(matrix)
        place = np.zeros(6)
        then.GetRASBounds(place)
        centre = [*place.reshape(3, 2).mean(axis=1), 1.0]
        moved = np.array(matrix.MultiplyPoint(centre))[:3]
        np.testing.assert_allclose(moved, np.array(centre[:3]) - SHIFT, atol=1.0)
    page = (tmp_path / "follow_up.html").read_text("utf-8")
    assert "Doe" not in page
    photograph(ready, "follow-up")
    assert list(real_worker.iterdir()) == []


def test_an_earlier_result_may_be_a_file(ready, spine, real_worker, pump, tmp_path):
    section = ready.checkSection.followUp
    write_image(spine.labels, tmp_path / "then.nii.gz")
    section.setFile(tmp_path / "then.nii.gz")
    assert section.compareButton.enabled
    section.compareButton.click()
    pump(lambda: not ready.runs.isRunning(), 180.0)
    assert ready.ui.statusLabel.text.startswith("Compared:"), ready.ui.statusLabel.text
    assert section.table.rowCount == 0
    assert section.summary.text.splitlines()[-1].startswith("0 of ")


def test_an_earlier_segmentation_without_its_volume_is_refused(ready, spine):
    section = ready.checkSection.followUp
    volume, node = earlier(spine)
    slicer.mrmlScene.RemoveNode(volume)
    section.selector.setCurrentNode(node)
    section.compareButton.click()
    assert not ready.runs.isRunning()
    assert "Then does not refer to its volume." in ready.ui.statusLabel.text
