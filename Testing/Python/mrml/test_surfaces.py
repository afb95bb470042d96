"""Surfaces of segments, made one by one so that Slicer stays responsive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer")

from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402 - after the skip

from SpineMambaSegmentLib.Scene.Segments import SURFACE, keepSurfaces, readSegmentation, surfaceOf  # noqa: E402

SHAPE = (40, 30, 30)
BOXES = {19: slice(25, 33), 20: slice(14, 22)}


@pytest.fixture
def node(scene, make_volume, tmp_path: Path):
    """A segmentation of two boxes, T12 and L1, in a much larger volume."""
    labels = np.zeros(SHAPE, np.uint8)
    for value, depth in BOXES.items():
        labels[depth, 10:20, 8:18] = value
    volume = make_volume(labels.astype(np.int16), np.diag([-0.7, -0.7, 1.5, 1.0]))
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((0.7, 0.7, 1.5))
    sitk.WriteImage(image, str(tmp_path / "labels.nrrd"))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    assert readSegmentation(tmp_path / "labels.nrrd", node, volume) == ["V19", "V20"]
    return node


def points_of(node, segment_id: str) -> np.ndarray:
    surface = node.GetSegmentation().GetSegment(segment_id).GetRepresentation(SURFACE)
    return vtk_to_numpy(surface.GetPoints().GetData())


def test_surfaces_made_one_by_one_equal_those_made_at_once(node):
    surfaces = {segment_id: surfaceOf(node, segment_id) for segment_id in ("V19", "V20")}
    assert not node.GetSegmentation().ContainsRepresentation(SURFACE)
    keepSurfaces(node, surfaces)
    ours = {segment_id: points_of(node, segment_id).copy() for segment_id in surfaces}
    assert node.GetSegmentation().CreateRepresentation(SURFACE, True)
    for segment_id, points in ours.items():
        assert len(points) > 100
        np.testing.assert_array_equal(points, points_of(node, segment_id))


def test_a_missing_segment_does_not_stop_the_others(node):
    surfaces = {"V19": surfaceOf(node, "V19")}
    node.GetSegmentation().RemoveSegment("V19")
    keepSurfaces(node, surfaces)
    assert len(points_of(node, "V20")) > 100


def test_label_maps_are_cropped_to_their_segments(node):
    image = node.GetSegmentation().GetSegment("V19").GetRepresentation("Binary labelmap")
    # Slicer takes hold of every voxel of the layer for every segment in it.
    assert np.prod(image.GetDimensions()) <= 12 * 12 * 21
    assert np.prod(image.GetDimensions()) < np.prod(SHAPE) / 10
