"""Inputs that others change during a run, or write at the same time."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("application", reason="slicer-core or PySide6 is not installed")

import slicer
import vtk
from scene_helpers import add_volume

PARAMETERS = "vtkMRMLScriptedModuleNode"
IDS = ("V19", "V20", "V21")


def segmentation(name: str):
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)


def ids_of(node) -> tuple[str, ...]:
    return tuple(node.GetSegmentation().GetSegmentIDs())


@pytest.fixture
def parameters(watched):
    return slicer.mrmlScene.GetSingletonNode("SpineMambaSegment", PARAMETERS)


def go_on(watched, monkeypatch) -> None:
    """Start a run that goes on by itself, and wait until the worker runs."""
    monkeypatch.setenv("PAUSE_S", "0.02")
    watched.start("read")


def test_a_script_may_choose_other_nodes_during_a_run(watched, parameters, monkeypatch):
    ui, first, second = watched.ui, segmentation("First"), segmentation("Second")
    ui.outputSelector.setCurrentNode(first)
    go_on(watched, monkeypatch)
    other = add_volume(np.zeros((8, 8, 8), np.int16), np.eye(4), "Other")
    parameters.SetNodeReferenceID("InputVolume", other.GetID())
    parameters.SetNodeReferenceID("OutputSegmentation", second.GetID())
    parameters.SetParameter("Quality", "fast")
    watched.wait()
    assert ids_of(first) == IDS
    assert ids_of(second) == ()
    # What the script has chosen stays chosen.
    assert ui.inputSelector.currentNode() is other
    assert ui.outputSelector.currentNode() is second
    assert ui.qualitySelector.currentIndex == 1
    assert "Finished. The segments are in First." in ui.statusLabel.text


def test_a_new_segmentation_is_chosen_at_the_end_of_a_run(watched, monkeypatch):
    go_on(watched, monkeypatch)
    watched.wait()
    assert ids_of(watched.ui.outputSelector.currentNode()) == IDS


def test_a_segmentation_that_becomes_surfaces_during_a_run_is_named(watched, monkeypatch):
    node = segmentation("Mine")
    watched.ui.outputSelector.setCurrentNode(node)
    go_on(watched, monkeypatch)
    node.SetSourceRepresentationToClosedSurface()
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "Ball")
    watched.wait()
    text = watched.ui.statusLabel.text
    assert text.startswith("INPUT_BAD: Mine consists of surfaces, not voxels.")
    assert node.GetSegmentation().GetNumberOfSegments() == 1


def test_a_segmentation_that_is_deleted_during_a_run_is_made_again(watched, monkeypatch):
    node = segmentation("Mine")
    watched.ui.outputSelector.setCurrentNode(node)
    go_on(watched, monkeypatch)
    slicer.mrmlScene.RemoveNode(node)
    watched.wait()
    made = watched.ui.outputSelector.currentNode()
    assert made.GetName() == "Doe John spine"
    assert ids_of(made) == IDS


def test_a_volume_with_other_voxels_is_noticed_at_the_end(watched, volume, monkeypatch):
    go_on(watched, monkeypatch)
    image = vtk.vtkImageData()
    image.SetDimensions(8, 8, 8)
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    volume.SetAndObserveImageData(image)
    watched.wait()
    assert "INPUT_BAD: The input volume was replaced during the run" in watched.ui.statusLabel.text
    assert watched.ui.outputSelector.currentNode() is None


def test_a_second_panel_says_which_run_writes_the_segmentation(
    watched, make_panel, monkeypatch, volume
):
    node, second = segmentation("Shared"), make_panel()
    watched.ui.outputSelector.setCurrentNode(node)
    monkeypatch.setenv("STOP_AT", "segment")
    watched.start("segment")
    count = slicer.mrmlScene.GetNumberOfNodes()
    second.ui.inputSelector.setCurrentNode(volume)
    second.ui.outputSelector.setCurrentNode(node)
    second.ui.segmentButton.click()
    assert not second.runs.isRunning()
    text = second.ui.statusLabel.text
    assert "Another run of SpineMamba Segment, over Doe John, is going to write Shared." in text
    watched.ui.cancelButton.click()
    watched.wait()
    assert slicer.mrmlScene.GetNumberOfNodes() == count - 1  # the mark of the run
    monkeypatch.delenv("STOP_AT")
    second.ui.segmentButton.click()
    watched.pump(lambda: not second.runs.isRunning())
    assert ids_of(node) == IDS


def test_a_hidden_panel_adds_no_node_to_a_new_scene(panel):
    def count() -> int:
        return slicer.mrmlScene.GetNumberOfNodesByClass(PARAMETERS)

    panel.enter()
    assert count() == 1
    panel.exit()
    slicer.mrmlScene.Clear(1)
    assert count() == 0
    panel.ui.modalitySelector.setCurrentIndex(1)
    panel.enter()
    assert count() == 1
    slicer.mrmlScene.Clear(1)
    assert count() == 1
    panel.exit()
