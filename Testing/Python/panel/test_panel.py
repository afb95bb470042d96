"""Basic use of the panel."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import qt
import slicer
import vtk
from scene_helpers import add_volume

from spinemamba.protocol.job import MODALITIES, QUALITIES


def names_of(node) -> list[str]:
    segmentation = node.GetSegmentation()
    return [segmentation.GetSegment(i).GetName() for i in segmentation.GetSegmentIDs()]


def table_of(ui) -> list[list[str]]:
    table = ui.reviewTable
    return [
        [table.item(row, column).text() for column in range(table.columnCount)]
        for row in range(table.rowCount)
    ]


def test_segmenting_makes_named_segments_and_a_table_and_no_files(panel, volume, fake_worker, pump):
    ui = panel.ui
    ui.inputSelector.setCurrentNode(volume)
    values = []
    ui.progressBar.valueChanged.connect(values.append)
    ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    node = ui.outputSelector.currentNode()
    assert (node.GetName(), names_of(node)) == ("Doe John spine", ["T12", "L1", "L2"])
    assert "Finished in" in ui.statusLabel.text
    assert "Research use only" in ui.statusLabel.text
    assert values == sorted(values)
    assert len(values) > 3
    assert values[-1] == ui.progressBar.maximum
    assert table_of(ui)[1] == ["", "L1", "90 %", "0.1", "It is a box"]
    assert ui.reviewTable.item(1, 4).toolTip() == "Flagged. It is a box."
    assert ui.reviewProgressBar.text() == "0 of 3 reviewed"
    assert "Check one level" in ui.reviewBannerLabel.text
    assert list(fake_worker.iterdir()) == []


def test_a_missing_input_disables_the_button_and_the_tooltip_says_so(panel, volume):
    ui = panel.ui
    ui.inputSelector.setCurrentNode(None)
    assert not ui.segmentButton.enabled
    assert ui.segmentButton.toolTip == "Choose an input volume"
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    ui.inputSelector.setCurrentNode(empty)
    assert not ui.segmentButton.enabled
    assert "no voxels" in ui.segmentButton.toolTip
    ui.inputSelector.setCurrentNode(volume)
    assert ui.segmentButton.enabled
    assert not ui.cancelButton.enabled


def test_opening_the_panel_suggests_the_first_volume_that_can_be_segmented(panel):
    kinds = ("vtkMRMLLabelMapVolumeNode", "vtkMRMLScalarVolumeNode")
    for kind in kinds:
        slicer.mrmlScene.AddNewNodeByClass(kind, kind)
    panel.enter()
    assert panel.ui.inputSelector.currentNode() is None
    panel.exit()
    good = add_volume(np.zeros((3, 3, 3), np.int16), np.eye(4))
    panel.enter()
    assert panel.ui.inputSelector.currentNode() is good


def test_a_run_that_cannot_start_says_why_and_changes_nothing(panel, volume, fake_worker):
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Far away")
    roi.SetCenter(1000.0, 0.0, 0.0)
    roi.SetSize(10.0, 10.0, 10.0)
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.roiSelector.setCurrentNode(roi)
    panel.ui.segmentButton.click()
    assert not panel.runs.isRunning()
    assert "Far away lies outside Doe John" in panel.ui.statusLabel.text
    assert "or choose no region" in panel.ui.statusLabel.text
    assert list(fake_worker.iterdir()) == []


def test_folders_left_by_a_crash_are_deleted_after_a_week(panel, volume, fake_worker, pump):
    old, young = fake_worker / "spinemamba-old", fake_worker / "spinemamba-young"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (0, 0))
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    assert list(fake_worker.iterdir()) == [young]


def test_label_maps_and_colour_images_are_not_offered(panel):
    ui = panel.ui
    for name in ("vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode"):
        slicer.mrmlScene.AddNewNodeByClass(name, name)
    assert ui.inputSelector.nodes() == []


def test_the_selectors_have_the_options_of_a_job(panel):
    assert panel.ui.modalitySelector.count == len(MODALITIES)
    assert panel.ui.qualitySelector.count == len(QUALITIES)
    panel.ui.modalitySelector.setCurrentIndex(2)
    panel.ui.qualitySelector.setCurrentIndex(1)
    options = panel.inputSection.options()
    assert (options.modality, options.quality) == ("mr", "fast")
    assert panel.ui.modalitySelector.currentText == "MR"
    assert panel.ui.qualitySelector.currentText == "Fast"


def test_case_options_are_in_the_scene_and_machine_options_in_the_settings(
    panel, make_panel, volume
):
    ui = panel.ui
    ui.inputSelector.setCurrentNode(volume)
    ui.modalitySelector.setCurrentIndex(1)
    ui.deviceSelector.setCurrentIndex(ui.deviceSelector.findData("cpu"))
    node = panel.widget.logic.getParameterNode()
    assert node.GetParameter("Modality") == "ct"
    assert node.GetNodeReference("InputVolume") is volume
    assert "Device" not in list(node.GetParameterNames())
    assert slicer.app.settings().value("SpineMambaSegment/Device") == "cpu"
    again = make_panel()
    assert again.ui.inputSelector.currentNode() is volume
    assert again.ui.modalitySelector.currentIndex == 1
    assert again.inputSection.options().device == "cpu"


def test_a_loaded_scene_restores_options_and_table(panel, volume, fake_worker, pump, tmp_path):
    ui = panel.ui
    panel.enter()
    ui.inputSelector.setCurrentNode(volume)
    ui.modalitySelector.setCurrentIndex(2)
    ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    rows, path = table_of(ui), str(tmp_path / "case.mrb")
    assert slicer.mrmlScene.WriteToMRB(path, None)
    slicer.mrmlScene.Clear(0)
    assert ui.modalitySelector.currentIndex == 0
    assert table_of(ui) == []
    assert slicer.mrmlScene.ReadFromMRB(path, True)
    assert ui.modalitySelector.currentIndex == 2
    assert ui.inputSelector.currentNode().GetName() == "Doe John"
    assert table_of(ui) == rows
    assert "Check one level" in ui.reviewBannerLabel.text


def test__options_of_a_scene_saved_without_the_wrapper_are_kept(make_panel, volume):
    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetSingletonTag("SpineMambaSegment")
    node = slicer.mrmlScene.AddNode(node)
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    roles = {"InputVolume": volume, "OutputSegmentation": output, "Region": roi}
    for role, referenced in roles.items():
        node.SetNodeReferenceID(role, referenced.GetID())
    node.SetParameter("Modality", "mr")
    node.SetParameter("Quality", "fast")
    panel = make_panel()
    assert panel.ui.inputSelector.currentNode() is volume
    assert panel.ui.outputSelector.currentNode() is output
    options = panel.inputSection.options()
    assert (options.modality, options.quality, options.roiNode) == ("mr", "fast", roi)
    assert {role: node.GetNodeReference(role) for role in roles} == roles


def test_a_value_set_by_a_script_is_shown_and_kept(panel, volume):
    node = panel.widget.logic.getParameterNode()
    other = add_volume(np.zeros((3, 3, 3), np.int16), np.eye(4), "other")
    node.SetNodeReferenceID("InputVolume", other.GetID())
    node.SetParameter("Quality", "fast")
    node.Modified()
    assert panel.ui.inputSelector.currentNode() is other
    panel.ui.modalitySelector.setCurrentIndex(2)
    assert panel.inputSection.options().quality == "fast"
    assert node.GetNodeReference("InputVolume") is other


@pytest.mark.parametrize("word", ["", "xyz"])
def test_an_unknown_option_in_a_scene_is_the_default(panel, volume, word):
    panel.widget.logic.getParameterNode().SetParameter("Modality", word)
    assert panel.inputSection.options().modality == MODALITIES[0]
    panel.ui.inputSelector.setCurrentNode(volume)
    assert panel.widget.logic.getParameterNode().GetParameter("Modality") == MODALITIES[0]


def test_a_click_in_the_table_centres_the_slices_on_the_vertebra(panel, volume, fake_worker, pump):
    red = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())

    def centre() -> list[float]:
        return [red.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)]

    node = panel.ui.outputSelector.currentNode()
    assert centre() == pytest.approx(node.GetSegmentCenterRAS("V20"), abs=1e-6)
    panel.ui.reviewTable.cellClicked.emit(0, 0)
    assert centre() == pytest.approx(node.GetSegmentCenterRAS("V19"), abs=1.0)


def test_diagnostics_name_versions_and_no_patient(panel, volume, fake_worker, pump):
    ui = panel.ui
    panel.enter()
    pump(lambda: isinstance(panel.setupSection.facts, dict))
    ui.inputSelector.setCurrentNode(volume)
    ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    ui.diagnosticsButton.click()
    text = slicer.app.clipboard().text()
    for part in ("Slicer 5.12", "Test GPU", "a line for the log", "starter, auto, auto, standard"):
        assert part in text
    assert "Doe" not in text
    assert str(fake_worker) not in text


def test_the_log_is_shown_on_demand(panel, volume, fake_worker, pump):
    ui = panel.ui
    assert not ui.logText.isVisible()
    ui.logButton.click()
    ui.inputSelector.setCurrentNode(volume)
    ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    assert "a line for the log" in ui.logText.toPlainText()


def test_shortcuts_work_in_the_panel_only_while_it_is_shown(panel):
    scope = qt.Qt.WidgetWithChildrenShortcut
    panel.enter()
    shortcuts = panel.frame.findChildren(qt.QShortcut)
    assert {shortcut.context for shortcut in shortcuts} == {scope}
    panel.exit()
    # Those of the table go with its focus.
    assert all(s.isEnabled() == (s.parent() is panel.ui.reviewFrame) for s in shortcuts)


def test_nothing_is_segmented_outside_a_region(panel, volume, fake_worker, pump):
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
    roi.SetCenter(7.5, 9.5, 12.0)
    roi.SetSize(11.0, 13.0, 15.0)
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.roiSelector.setCurrentNode(roi)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    bounds = np.zeros(6)
    panel.ui.outputSelector.currentNode().GetRASBounds(bounds)
    assert (bounds[::2] >= np.array([2.0, 3.0, 4.5]) - 0.5).all()
    assert (bounds[1::2] <= np.array([13.0, 16.0, 19.5]) + 0.5).all()


def test_a_four_dimensional_image_says_which_frame_is_used(panel, volume, fake_worker, pump):
    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Frames")
    for k in range(3):
        sequence.SetDataNodeAtValue(volume, str(k))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(volume, sequence, False)
    browser.SetSelectedItemNumber(1)
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    assert "current frame, 2 of 3" in panel.ui.statusLabel.text


def test_a_volume_under_a_transform_gets_its_segments_there(panel, volume, fake_worker, pump):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Move")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 100.0)
    transform.SetMatrixTransformToParent(matrix)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    bounds = np.zeros(6)
    panel.ui.outputSelector.currentNode().GetRASBounds(bounds)
    # Voxels 5 to 9, each half a mm to both sides; the surface is smoothed.
    assert bounds[:2] == pytest.approx([104.5, 109.5], abs=0.2)
