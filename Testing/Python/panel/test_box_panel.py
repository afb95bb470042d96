"""Adding and re-segmenting a vertebra from the panel."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
import vtk
from check_helpers import add_segments, matrix_of
from foreign_spines import foreign_copy
from scene_helpers import add_volume

from spinemamba.phantom import PhantomOptions, make_phantom


@pytest.fixture
def three(panel, real_worker, pump):
    """The panel with three vertebrae, of which the middle one was missed, and true labels."""
    view = {"spacing_mm": (3.0, 2.0, 2.0), "scale": 0.75, "margin_mm": 8.0, "tight": True}
    phantom = make_phantom(3, PhantomOptions(first="L1", last="L3", **view))
    volume = add_volume(phantom.image.array, matrix_of(phantom), "Doe John")
    labels = phantom.labels.array.astype(np.uint8)
    node = add_segments(volume, np.where(labels == 21, 0, labels), "Spine")
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.outputSelector.setCurrentNode(node)
    panel.refresh()
    panel.reviewSection.table.goTo("V22")
    return panel, node, add_segments(volume, labels, "Truth")


def test_a_missed_vertebra_is_added_by_a_click_resegmented_and_undone(three, pump):
    panel, node, truth = three
    review = panel.reviewSection
    panel.boxMenu.waitForClick()
    assert "Click into the body" in panel.ui.statusLabel.text
    clicks = review.menus._clicks.markups
    clicks.AddControlPoint(vtk.vtkVector3d(*body_of(truth, "V21")))
    pump(panel.runs.isRunning)
    pump(lambda: not panel.runs.isRunning(), 120.0)
    assert "Found" in panel.ui.statusLabel.text
    (added,) = set(node.GetSegmentation().GetSegmentIDs()) - {"V20", "V22"}
    assert node.GetSegmentation().GetSegment(added).GetName() == "L2"
    review.table.goTo(added)
    assert panel.boxMenu.resegment()
    pump(lambda: not panel.runs.isRunning(), 120.0)
    assert review.session.undoTitle == "Re-segment"
    review.undo()
    review.undo()
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["V20", "V22"]


def test_an_approved_vertebra_is_not_resegmented(three):
    panel, _, _ = three
    panel.reviewSection.toggleApproved()
    panel.reviewSection.table.goTo("V22")
    assert not panel.boxMenu.resegment()
    assert "approved" in panel.ui.statusLabel.text
    assert not panel.runs.isRunning()


def test_a_cancelled_resegmentation_changes_nothing(three, pump):
    panel, node, _ = three
    panel.boxMenu.resegment()
    pump(lambda: panel.ui.progressBar.value > 0, 60.0)
    panel.ui.cancelButton.click()
    pump(lambda: not panel.runs.isRunning(), 30.0)
    assert "Cancelled" in panel.ui.statusLabel.text
    assert panel.reviewSection.session.undoTitle == ""
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["V20", "V22"]


def voxels_of(node, volume) -> dict[str, bytes]:
    """Return the voxels of each segment on the grid of the volume."""
    from SpineMambaSegmentLib.Scene.Grid import gridOf
    from SpineMambaSegmentLib.Scene.LabelArray import labelArray

    ids = node.GetSegmentation().GetSegmentIDs()
    return {i: labelArray(node, [i], gridOf(volume)).tobytes() for i in ids}


def test_a_taken_over_spine_gets_a_vertebra_in_its_own_style(three, pump):
    panel, made, truth = three
    node, volume = foreign_copy(made), panel.ui.inputSelector.currentNode()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.CreateDefaultDisplayNodes()
    panel.ui.outputSelector.setCurrentNode(node)
    review = panel.reviewSection
    review.takeOver.button.click()
    assert review.session.spine.ids == ["vertebrae_L1", "vertebrae_L3"]
    before = voxels_of(node, volume)
    assert panel.boxMenu.grow(tuple(body_of(truth, "V21")))
    pump(lambda: not panel.runs.isRunning(), 120.0)
    (added,) = set(node.GetSegmentation().GetSegmentIDs()) - set(before)
    assert [row.name for row in review.table.rows] == [
        "vertebrae_L1",
        "vertebrae_L2",
        "vertebrae_L3",
    ]
    assert {i: v for i, v in voxels_of(node, volume).items() if i != added} == before
    review.table.goTo("vertebrae_L3")
    assert panel.boxMenu.resegment()
    pump(lambda: not panel.runs.isRunning(), 120.0)
    assert review.session.undoTitle == "Re-segment"
    assert node.GetSegmentation().GetSegment("vertebrae_L3").GetName() == "vertebrae_L3"
    assert voxels_of(node, volume)["vertebrae_L1"] == before["vertebrae_L1"]
    assert not panel.ui.segmentButton.enabled
    review.undo()
    review.undo()
    assert voxels_of(node, volume) == before


def test_no_vertebra_is_segmented_under_another_transform(three):
    panel, node, _ = three
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert not panel.boxMenu.resegment()
    assert "is under another transform" in panel.ui.statusLabel.text


def body_of(node, segment_id: str) -> np.ndarray:
    """Return where a person would click: in front of the middle of a vertebra."""
    bounds = np.zeros(6)
    node.GetSegmentation().GetSegment(segment_id).GetBounds(bounds)
    middle = (bounds[::2] + bounds[1::2]) / 2
    # A body is the foremost third of its vertebra.
    middle[1] = bounds[3] - 15
    return middle
