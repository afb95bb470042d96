"""Runs that divide thick slices: segments, review and later runs use the finer voxels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
from scene_helpers import add_volume

from spinemamba.imaging.fine_slices import with_fine_slices
from spinemamba.imaging.volume import Geometry, Volume
from SpineMambaSegmentLib.Scene.Grid import gridOf, referenceGrid

FINE = 1
SHAPE = (24, 20, 16)


@pytest.fixture
def volume(module):
    """A volume with slices of 3 mm, left-handed as files of other software may be."""
    matrix = np.diag([1.0, 1.0, 3.0, 1.0])
    matrix[:3, 3] = 5.0, -7.0, 11.0
    return add_volume(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), matrix)


def images_of(node) -> list:
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetSegment(i) for i in segmentation.GetSegmentIDs()]
    return [segment.GetRepresentation("Binary labelmap") for segment in segments]


def run(watched) -> None:
    watched.start("read")
    watched.wait()


def test_fine_slices_make_segments_on_a_third_of_the_voxel(watched, volume):
    watched.ui.slicesSelector.setCurrentIndex(FINE)
    run(watched)
    assert "Finished" in watched.ui.statusLabel.text
    node = watched.ui.outputSelector.currentNode()
    for image in images_of(node):
        np.testing.assert_allclose(image.GetSpacing(), (1, 1, 1), atol=1e-6)
    grid = gridOf(volume)
    assert referenceGrid(node).isSameAs(grid.subdivided((1, 1, 3)))
    # Edits and added vertebrae use the finer voxels, too.
    session = watched.panel.reviewSection.session
    np.testing.assert_allclose(np.linalg.norm(session.spine.grid.ijkToRas[:3, :3], axis=0), 1)
    role = node.GetReferenceImageGeometryReferenceRole()
    assert node.GetNodeReference(role) is volume
    bounds = np.zeros(6)
    node.GetSegmentation().GetSegment("V19").GetBounds(bounds)
    # The segments share one label map; 6 of 24 slices of 3 mm lie below the lowest vertebra.
    assert bounds[4] == pytest.approx(11 - 1.5 + 6 * 3)


def test_fine_slices_are_kept_in_the_scene_and_named_in_diagnostics(watched):
    watched.ui.slicesSelector.setCurrentIndex(FINE)
    parameters = slicer.mrmlScene.GetSingletonNode("SpineMambaSegment", "vtkMRMLScriptedModuleNode")
    assert parameters.GetParameter("Slices") == "fine"
    assert watched.panel.inputSection.describe().endswith("fine-slices")
    parameters.SetParameter("Slices", "original")
    assert watched.ui.slicesSelector.currentIndex == 0


@pytest.mark.parametrize("first", [0, FINE])
def test_approved_vertebrae_on_other_slices_are_not_mixed_with_new_ones(watched, first):
    watched.ui.slicesSelector.setCurrentIndex(first)
    run(watched)
    watched.panel.reviewSection.table.goTo("V20")
    watched.ui.approveButton.click()
    watched.ui.slicesSelector.setCurrentIndex(1 - first)
    assert not watched.ui.segmentButton.enabled
    assert "slices of another thickness" in watched.ui.segmentButton.toolTip
    watched.ui.slicesSelector.setCurrentIndex(first)
    assert watched.ui.segmentButton.enabled


def test_the_panel_divides_voxels_as_the_method_does():
    matrix = np.diag([-0.7, -1.6, 4.0, 1.0])
    matrix[:3, 3] = 3.0, 4.0, 5.0
    volume = add_volume(np.zeros((5, 6, 7), np.int16), matrix)
    geometry = Geometry((5, 6, 7), (4.0, 1.6, 0.7), (-3.0, -4.0, 5.0), np.eye(3))
    fine = with_fine_slices(Volume(np.zeros((5, 6, 7), np.int16), geometry)).geometry
    grid = gridOf(volume).subdivided((1, 3, 3))
    assert grid.size == fine.shape[::-1]
    first = grid.ijkToRas[:3, 3] * [-1, -1, 1]
    np.testing.assert_allclose(first, fine.origin_lps_mm, atol=1e-9)
    assert grid.isSubdivisionOf(gridOf(volume))
    assert not gridOf(volume).isSubdivisionOf(grid)
