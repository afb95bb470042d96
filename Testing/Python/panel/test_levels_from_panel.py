"""The menu Names takes the levels from another segmentation of the scene or from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import numpy as np
import qt
import slicer

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.anatomy.terminology import segment_info
from spinemamba.imaging.seg_nrrd import write_labels

OTHER = {"T12": "L1", "L1": "L2", "L2": "L3"}


@pytest.fixture
def reviewed(panel, volume, fake_worker, pump):
    """The panel after a run: T12, L1, L2."""
    volume.SetSpacing(1.0, 1.0, 5.0)  # bodies lie 30 mm apart then, as the solver expects
    panel.enter()
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    return panel


def named_lower(node):
    """Return a copy of a segmentation without results, named one level lower."""
    copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Old CT")
    copy.GetSegmentation().DeepCopy(node.GetSegmentation())
    for k in range(copy.GetSegmentation().GetNumberOfSegments()):
        segment = copy.GetSegmentation().GetNthSegment(k)
        segment.RemoveTag(segment.GetTerminologyEntryTagName())
        segment.SetName(OTHER[segment.GetName()])
    return copy


def names(panel) -> list[str]:
    table = panel.ui.reviewTable
    return [table.item(row, 1).text() for row in range(table.rowCount)]


def entries(panel) -> dict:
    """Return the entries of the menu of other segmentations by their text."""
    menu = panel.reviewSection.menus
    opened = qt.QMenu(panel.ui.namesButton)
    menu.listOthers(opened)
    return {action.text: action for action in opened.actions() if action.text}


def test_another_segmentation_of_the_scene_names_the_vertebrae_in_one_step(reviewed):
    named_lower(reviewed.ui.outputSelector.currentNode())
    before = names(reviewed)
    found = entries(reviewed)
    assert list(found) == ["Old CT", "File..."]
    found["Old CT"].trigger()
    assert names(reviewed) == ["L1", "L2", "L3"]
    assert reviewed.ui.undoButton.toolTip == "Undo: Levels from another scan"
    reviewed.ui.undoButton.click()
    assert names(reviewed) == before


def test_a_file_names_the_vertebrae(reviewed, volume, tmp_path: Path):
    from SpineMambaSegmentLib.Scene.Grid import gridOf
    from SpineMambaSegmentLib.Scene.LabelArray import labelArray
    from SpineMambaSegmentLib.Scene.Straightened import volumeOf

    node = reviewed.ui.outputSelector.currentNode()
    ids, grid = list(node.GetSegmentation().GetSegmentIDs()), gridOf(volume)
    levels = [BY_NAME[name] for name in OTHER.values()]
    values = np.array([0, *(level.value for level in levels)], np.uint8)
    labels = volumeOf(values[labelArray(node, ids, grid)], grid)
    path = tmp_path / "old.seg.nrrd"
    write_labels(labels, path, [segment_info(level.value) for level in levels])
    reviewed.reviewSection.menus.levelsFromFile(path)
    assert names(reviewed) == list(OTHER.values())


def test_a_missing_file_is_told_and_nothing_changes(reviewed, tmp_path: Path):
    reviewed.reviewSection.menus.levelsFromFile(tmp_path / "missing.nii.gz")
    assert "missing.nii.gz cannot be read" in reviewed.ui.statusLabel.text
    assert names(reviewed) == ["T12", "L1", "L2"]


def test_the_menu_is_enabled_without_a_selected_vertebra(reviewed):
    assert reviewed.reviewSection.menus.actions["levelsFrom"].enabled
