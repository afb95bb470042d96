"""Positions of segments, for any voxel grid and any parent transform of the volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy  # noqa: E402 - after the skip

from SpineMambaSegmentLib.Scene.Files import VolumeFile  # noqa: E402
from SpineMambaSegmentLib.Scene.Inputs import regionExtent  # noqa: E402
from SpineMambaSegmentLib.Scene.Segments import readSegmentation  # noqa: E402

SHAPE = (18, 22, 26)
BOXES = {
    19: (slice(12, 16), slice(3, 9), slice(5, 17)),
    20: (slice(3, 9), slice(6, 15), slice(8, 20)),
}
BOXES[28] = (slice(9, 12), slice(4, 12), slice(6, 19))
STEP_MM, STEPS = 25.0, 41
PARENTS = ("none", "linear", "non-linear")


def random_geometry(seed: int) -> np.ndarray:
    """Return an oblique IJK to RAS matrix; every other one is left-handed."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    if (np.linalg.det(turn) > 0) == (seed % 2 == 1):
        turn[:, 0] *= -1
    matrix = np.eye(4)
    matrix[:3, :3] = turn * rng.uniform(0.4, 3.5, 3)
    matrix[:3, 3] = rng.uniform(-120, 120, 3)
    return matrix


class Parent:
    """A transform above the volume, and the same in numpy."""

    def __init__(self, scene, kind: str, seed: int):
        rng = np.random.default_rng(100 + seed)
        self.matrix = random_geometry(200 + seed) if kind == "linear" else np.eye(4)
        self.bend_mm = rng.uniform(-15, 15, STEPS) * (kind == "non-linear")
        self.node = None
        if kind == "linear":
            self.node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
            matrix = vtk.vtkMatrix4x4()
            matrix.DeepCopy(self.matrix.ravel())
            self.node.SetMatrixTransformToParent(matrix)
        elif kind == "non-linear":
            self.node = self._grid(scene)

    def _grid(self, scene):
        """Return a grid transform, as Slicer makes for tilted gantries: A shifts along S."""
        image = vtk.vtkImageData()
        image.SetDimensions(2, 2, STEPS)
        image.SetSpacing(2000.0, 2000.0, STEP_MM)
        image.SetOrigin(-1000.0, -1000.0, -STEP_MM * (STEPS // 2))
        shifts = np.zeros((STEPS, 2, 2, 3))
        shifts[..., 1] = self.bend_mm[:, None, None]
        image.GetPointData().SetScalars(numpy_to_vtk(shifts.reshape(-1, 3), deep=True))
        transform = slicer.vtkOrientedGridTransform()
        transform.SetDisplacementGridData(image)
        transform.SetInterpolationModeToLinear()
        node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
        node.SetAndObserveTransformToParent(transform)
        return node

    def __call__(self, points: np.ndarray) -> np.ndarray:
        moved = points @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        heights = STEP_MM * (np.arange(STEPS) - STEPS // 2)
        moved[:, 1] += np.interp(points[:, 2], heights, self.bend_mm)
        return moved


def labels_array() -> np.ndarray:
    labels = np.zeros(SHAPE, np.int16)
    for value, box in BOXES.items():
        labels[box] = value
    return labels


def true_bounds(value: int, matrix: np.ndarray, parent: Parent) -> np.ndarray:
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


def as_the_worker_would(volume_path: Path, labels_path: Path) -> None:
    """Read the image that the panel wrote, and write labels on its grid."""
    image = sitk.ReadImage(str(volume_path))
    labels = sitk.GetImageFromArray(sitk.GetArrayFromImage(image).astype(np.uint8))
    labels.CopyInformation(image)
    sitk.WriteImage(labels, str(labels_path), useCompression=True)


@pytest.mark.parametrize("kind", PARENTS)
@pytest.mark.parametrize("seed", range(12))
def test_every_segment_has_the_bounds_of_the_truth(scene, make_volume, tmp_path, seed, kind):
    matrix = random_geometry(seed)
    volume = make_volume(labels_array(), matrix)
    parent = Parent(scene, kind, seed)
    if parent.node is not None:
        volume.SetAndObserveTransformNodeID(parent.node.GetID())
    VolumeFile(volume, tmp_path / "in.nrrd").write()
    as_the_worker_would(tmp_path / "in.nrrd", tmp_path / "labels.nrrd")
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
    parent = Parent(scene, kind, seed)
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
