"""Positions of segments, for any voxel grid and any parent transform of the volume."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from transformed_boxes import (  # noqa: E402 - after the skip
    BOXES,
    PARENTS,
    SHAPE,
    ParentTransform,
    labels_array,
    random_geometry,
    write_as_labels,
)
from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from SpineMambaSegmentLib.Scene import Files  # noqa: E402
from SpineMambaSegmentLib.Scene.Files import VolumeFile  # noqa: E402
from SpineMambaSegmentLib.Scene.Inputs import regionExtent  # noqa: E402
from SpineMambaSegmentLib.Scene.Segments import readSegmentation  # noqa: E402


def true_bounds(value: int, matrix: np.ndarray, parent: ParentTransform) -> np.ndarray:
    """Return least and greatest R, A, S of a box's voxel centres in the world, shape (2, 3)."""
    ijk = np.argwhere(labels_array() == value)[:, ::-1]
    world = parent(ijk @ matrix[:3, :3].T + matrix[:3, 3])
    return np.array([world.min(axis=0), world.max(axis=0)])


def bounds_in_scene(node, segment_id: str) -> np.ndarray:
    """Return the same of a segment, as the scene places it."""
    image = slicer.vtkOrientedImageData()
    assert node.GetBinaryLabelmapRepresentation(segment_id, image)
    extent = image.GetExtent()
    shape = [extent[2 * a + 1] - extent[2 * a] + 1 for a in (2, 1, 0)]
    inside = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape) != 0
    ijk = np.argwhere(inside)[:, ::-1] + np.array(extent[::2])
    matrix, to_world = vtk.vtkMatrix4x4(), vtk.vtkGeneralTransform()
    image.GetImageToWorldMatrix(matrix)
    parent = node.GetParentTransformNode()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(parent, None, to_world)
    points = [matrix.MultiplyPoint((*map(float, p), 1.0))[:3] for p in ijk]
    world = np.array([to_world.TransformPoint(point) for point in points])
    return np.array([world.min(axis=0), world.max(axis=0)])


@pytest.mark.parametrize("kind", PARENTS)
@pytest.mark.parametrize("seed", range(12))
def test_every_segment_has_the_true_bounds(scene, make_volume, tmp_path, seed, kind):
    matrix = random_geometry(seed)
    volume = make_volume(labels_array(), matrix)
    parent = ParentTransform(scene, kind, seed)
    if parent.node is not None:
        volume.SetAndObserveTransformNodeID(parent.node.GetID())
    VolumeFile(volume, tmp_path / "in.nrrd").write()
    write_as_labels(tmp_path / "in.nrrd", tmp_path / "labels.nrrd")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    assert readSegmentation(tmp_path / "labels.nrrd", node, volume) == ["V19", "V28", "V20"]
    for value in BOXES:
        wanted = true_bounds(value, matrix, parent)
        np.testing.assert_allclose(bounds_in_scene(node, f"V{value}"), wanted, atol=1e-3)


@pytest.mark.parametrize("kind", PARENTS)
@pytest.mark.parametrize("seed", range(3))
def test_the_bounding_box_of_a_region_contains_all_its_voxels(scene, make_volume, seed, kind):
    matrix = random_geometry(seed)
    volume = make_volume(labels_array(), matrix)
    parent = ParentTransform(scene, kind, seed)
    if parent.node is not None:
        volume.SetAndObserveTransformNodeID(parent.node.GetID())
    ijk = np.argwhere(np.ones(SHAPE))[:, ::-1]
    world = parent(ijk @ matrix[:3, :3].T + matrix[:3, 3])
    centre, size = world.mean(axis=0), np.ptp(world, axis=0) / 3
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
    roi.SetCenter(*centre)
    roi.SetSize(*size)
    inside = ijk[(np.abs(world - centre) <= size / 2).all(axis=1)]
    assert len(inside) > 10
    extent = np.array(regionExtent(volume, roi))
    assert (inside >= extent[::2]).all()
    assert (inside <= extent[1::2]).all()
    # A box along the voxels around a box that is oblique to them, but not the whole volume.
    assert np.prod(extent[1::2] - extent[::2] + 1) < np.prod(SHAPE)


def test_a_volume_is_written_in_a_few_large_blocks(make_volume, tmp_path, monkeypatch):
    volume = make_volume(np.arange(300 * 40 * 50, dtype=np.int16).reshape(300, 40, 50), np.eye(4))
    sizes = []

    class Counted(io.FileIO):
        def write(self, data) -> int:
            sizes.append(len(memoryview(data).cast("B")))
            return super().write(data)

    monkeypatch.setattr(Path, "open", lambda path, mode: Counted(path, "w"))
    VolumeFile(volume, tmp_path / "in.nrrd").write()
    # Between two blocks the thread needs the GIL, and Slicer passes it on only at its next tick.
    assert sizes[1:] == [2 * 300 * 40 * 50]
    monkeypatch.setattr(Files, "_BLOCK_BYTES", 2 * 40 * 50 * 128)
    sizes.clear()
    VolumeFile(volume, tmp_path / "in.nrrd").write()
    assert sizes[1:] == [2 * 40 * 50 * n for n in (128, 128, 44)]
