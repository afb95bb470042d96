"""The section Export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer


@pytest.fixture
def finished(panel, volume, fake_worker, pump):
    """The panel after a run."""
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    return panel


def read(path: Path) -> slicer.vtkMRMLSegmentationNode:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    return node


def test_without_segments_nothing_can_be_saved_and_the_tooltip_says_so(panel):
    for button in (panel.ui.saveButton, panel.ui.saveResultButton):
        assert not button.enabled
        assert button.toolTip == "Nothing was segmented yet."


def test_a_saved_segmentation_keeps_names_colours_codes_and_voxels(finished, tmp_path):
    node = finished.ui.outputSelector.currentNode()
    assert finished.ui.saveButton.enabled
    finished.exportSection.saveSegmentation(tmp_path / "spine.seg.nrrd")
    assert finished.ui.statusLabel.text == "Saved spine.seg.nrrd."
    assert node.GetStorageNode() is None
    saved, again = node.GetSegmentation(), read(tmp_path / "spine.seg.nrrd").GetSegmentation()
    assert list(again.GetSegmentIDs()) == list(saved.GetSegmentIDs()) == ["V19", "V20", "V21"]
    for segment_id in saved.GetSegmentIDs():
        one, other = saved.GetSegment(segment_id), again.GetSegment(segment_id)
        assert other.GetName() == one.GetName()
        assert other.GetColor() == pytest.approx(one.GetColor(), abs=1e-5)
        for tag in (one.GetTerminologyEntryTagName(), "SpineMamba.ModelHash"):
            assert tag_of(other, tag) == tag_of(one, tag) != ""
    assert sorted(path.name for path in tmp_path.glob("*.nrrd")) == ["spine.seg.nrrd"]
    assert list(tmp_path.glob(".saving-*")) == []


def tag_of(segment, name: str) -> str:
    from SpineMambaSegmentLib.Scene.Provenance import tagOf

    return tagOf(segment, name)


def test_the_result_of_the_run_can_be_saved(finished, tmp_path):
    finished.exportSection.saveResult(tmp_path / "result.json")
    values = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert [item["name"] for item in values["instances"]] == ["T12", "L1", "L2"]


@pytest.mark.parametrize("what", ["saveSegmentation", "saveResult"])
def test_a_missing_folder_is_reported_with_a_remedy(finished, tmp_path, what):
    getattr(finished.exportSection, what)(tmp_path / "away" / "spine.seg.nrrd")
    assert finished.ui.statusLabel.text.startswith("OUTPUT_BAD: spine.seg.nrrd cannot be written.")
    assert "Choose a folder" in finished.ui.statusLabel.text


def test_closing_the_scene_disables_the_buttons(finished):
    slicer.mrmlScene.Clear(0)
    assert not finished.ui.saveButton.enabled
    assert not finished.ui.saveResultButton.enabled
