"""Volume node to file and label file to segments, on real MRML nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from spinemamba.anatomy.labels import BY_NAME  # noqa: E402
from spinemamba.anatomy.terminology import terminology_entry  # noqa: E402
from spinemamba.common.errors import UserError  # noqa: E402 - after the skip
from SpineMambaSegmentLib.Scene.Files import writeVolume  # noqa: E402
from SpineMambaSegmentLib.Scene.Grid import gridOf  # noqa: E402
from SpineMambaSegmentLib.Scene.Inputs import checkVolume  # noqa: E402
from SpineMambaSegmentLib.Scene.Segments import readSegmentation  # noqa: E402

STRAIGHT = np.diag([-0.7, -0.8, 2.5, 1.0])
STRAIGHT[:3, 3] = (40.0, 30.0, -60.0)


def turned(matrix: np.ndarray, degrees: float) -> np.ndarray:
    """Return the matrix after a turn about R and then about S."""
    angle = np.deg2rad(degrees)
    c, s = np.cos(angle), np.sin(angle)
    about_r = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1.0]])
    about_s = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    return about_s @ about_r @ matrix


GEOMETRIES = {
    "straight": STRAIGHT,
    "oblique": turned(STRAIGHT, 12.0),
    "left-handed": STRAIGHT @ np.diag([1.0, 1.0, -1.0, 1.0]),
    "oblique left-handed": turned(STRAIGHT, -25.0) @ np.diag([-1.0, 1.0, 1.0, 1.0]),
    "sagittal": turned(STRAIGHT, 3.0)[:, [2, 1, 0, 3]],
}


def two_boxes() -> np.ndarray:
    """Labels of T12, T13 and L1 as boxes, shape (20, 24, 28)."""
    labels = np.zeros((20, 24, 28), np.int16)
    labels[14:18, 4:12, 6:20] = BY_NAME["T12"].value
    labels[8:13, 5:13, 7:21] = BY_NAME["T13"].value
    labels[2:7, 6:14, 8:22] = BY_NAME["L1"].value
    return labels


def on_grid(scene, segmentation, volume) -> np.ndarray:
    """Return the segments as labels on a volume's grid, in world coordinates; 1 is the first."""
    target = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    ids = list(segmentation.GetSegmentation().GetSegmentIDs())
    assert logic.ExportSegmentsToLabelmapNode(segmentation, ids, target, volume)
    image = target.GetImageData()
    flat = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return flat.reshape(image.GetDimensions()[::-1])


def surface_in_world(segmentation, segment_id: str):
    """Return the unsmoothed surface of a segment with its parent transforms applied."""
    segmentation.GetSegmentation().SetConversionParameter("Smoothing factor", "0")
    assert segmentation.CreateClosedSurfaceRepresentation()
    surface = vtk.vtkPolyData()
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.GetSegmentClosedSurfaceRepresentation(segmentation, segment_id, surface)
    return surface


def transform_node(scene, kind: str):
    """Return no, a linear or a non-linear transform node."""
    if kind == "none":
        return None
    if kind == "linear":
        node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy(turned(np.eye(4), 20.0).ravel())
        matrix.SetElement(0, 3, 100.0)
        node.SetMatrixTransformToParent(matrix)
        return node
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    spline = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for x in (-100.0, 100.0):
        for y in (-100.0, 100.0):
            for z in (-100.0, 0.0, 100.0):
                source.InsertNextPoint(x, y, z)
                target.InsertNextPoint(x, y + 0.002 * z * z, z)
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    node.SetAndObserveTransformToParent(spline)
    return node


@pytest.mark.parametrize("parent", ["none", "linear", "nonlinear"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_segments_lie_where_the_labels_of_the_volume_lie(
    scene, make_volume, tmp_path: Path, geometry: str, parent: str
):
    labels = two_boxes()
    volume = make_volume(labels, GEOMETRIES[geometry])
    transform = transform_node(scene, parent)
    if transform is not None:
        volume.SetAndObserveTransformNodeID(transform.GetID())
    writeVolume(volume, tmp_path / "labels.nrrd")
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    made = readSegmentation(tmp_path / "labels.nrrd", segmentation, volume)
    assert made == ["V19", "V28", "V20"]
    assert segmentation.GetTransformNodeID() == volume.GetTransformNodeID()
    expected = np.select([labels == 19, labels == 28, labels == 20], [1, 2, 3], 0)
    np.testing.assert_array_equal(on_grid(scene, segmentation, volume), expected)


def test_a_translated_volume_moves_its_segments_once(scene, make_volume, tmp_path: Path):
    labels = np.zeros((10, 10, 10), np.int16)
    labels[2:5, 3:7, 4:6] = 20
    volume = make_volume(labels, np.eye(4))
    writeVolume(volume, tmp_path / "labels.nrrd")
    parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = vtk.vtkMatrix4x4()
    shift.SetElement(0, 3, 100.0)
    parent.SetMatrixTransformToParent(shift)
    volume.SetAndObserveTransformNodeID(parent.GetID())
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    readSegmentation(tmp_path / "labels.nrrd", segmentation, volume)
    # Voxels 4 and 5 along R, 3 to 6 along A, 2 to 4 along S; half a voxel beyond their centers.
    bounds = surface_in_world(segmentation, "V20").GetBounds()
    np.testing.assert_allclose(bounds, [103.5, 105.5, 2.5, 6.5, 1.5, 4.5], atol=1e-4)


def test_the_file_has_the_position_of_the_volume_in_lps(make_volume, tmp_path: Path):
    volume = make_volume(two_boxes(), GEOMETRIES["oblique"])
    writeVolume(volume, tmp_path / "ct.nrrd")
    image = sitk.ReadImage(str(tmp_path / "ct.nrrd"))
    np.testing.assert_allclose(image.GetSpacing(), (0.7, 0.8, 2.5), atol=1e-9)
    ras = GEOMETRIES["oblique"] @ [3, 2, 1, 1]
    lps = image.TransformIndexToPhysicalPoint((3, 2, 1))
    np.testing.assert_allclose(lps, ras[:3] * (-1, -1, 1), atol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), two_boxes())


def segmented(scene, make_volume, tmp_path: Path, tags: dict[int, dict[str, str]] | None = None):
    """Return a segmentation of `two_boxes` and its volume."""
    volume = make_volume(two_boxes(), STRAIGHT)
    writeVolume(volume, tmp_path / "labels.nrrd")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    readSegmentation(tmp_path / "labels.nrrd", node, volume, tags)
    return node, volume


def test_segments_carry_name_color_code_and_tags(scene, make_volume, tmp_path: Path):
    node, volume = segmented(scene, make_volume, tmp_path, {28: {"SpineMamba.Model": "starter"}})
    segment = node.GetSegmentation().GetSegment("V28")
    label = BY_NAME["T13"]
    assert segment.GetName() == "T13"
    assert not segment.GetNameAutoGenerated()
    np.testing.assert_allclose(np.array(segment.GetColor()) * 255, label.color, atol=1e-9)
    value = vtk.reference("")
    assert segment.GetTag(segment.GetTerminologyEntryTagName(), value)
    assert str(value) == terminology_entry(label)
    assert segment.GetTag("SpineMamba.Model", value)
    assert str(value) == "starter"
    role = node.GetReferenceImageGeometryReferenceRole()
    assert node.GetNodeReferenceID(role) == volume.GetID()


def test_a_second_run_replaces_our_segments_and_keeps_the_users(scene, make_volume, tmp_path: Path):
    node, volume = segmented(scene, make_volume, tmp_path)
    node.GetSegmentation().AddEmptySegment("Screw", "Screw")
    only_l1 = make_volume(np.where(two_boxes() == 20, 20, 0).astype(np.int16), STRAIGHT)
    writeVolume(only_l1, tmp_path / "again.nrrd")
    readSegmentation(tmp_path / "again.nrrd", node, volume)
    assert sorted(node.GetSegmentation().GetSegmentIDs()) == ["Screw", "V20"]


def test_no_helper_node_stays_in_the_scene(scene, make_volume, tmp_path: Path):
    volume = make_volume(two_boxes() * 0 + 99, STRAIGHT)
    writeVolume(volume, tmp_path / "labels.nrrd")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    with pytest.raises(ValueError, match="unknown labels"):
        readSegmentation(tmp_path / "labels.nrrd", node, volume)
    assert scene.GetNumberOfNodesByClass("vtkMRMLLabelMapVolumeNode") == 0


def test_a_result_on_another_grid_is_refused(scene, make_volume, tmp_path: Path):
    moved = STRAIGHT.copy()
    moved[0, 3] += 0.01
    other = make_volume(two_boxes(), moved)
    writeVolume(other, tmp_path / "labels.nrrd")
    volume = make_volume(two_boxes(), STRAIGHT)
    assert not gridOf(other).isSameAs(gridOf(volume))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    with pytest.raises(ValueError, match="not on the voxel grid"):
        readSegmentation(tmp_path / "labels.nrrd", node, volume)


def test_nodes_that_are_not_images_are_refused(scene, make_volume):
    label_map = make_volume(two_boxes(), STRAIGHT, "vtkMRMLLabelMapVolumeNode")
    slice_only = make_volume(two_boxes()[:1], STRAIGHT)
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    cases = {
        "No input volume": None,
        "label map": label_map,
        "no voxels": empty,
        r"not a 3-D image \(28 x 24 x 1\)": slice_only,
    }
    for message, node in cases.items():
        with pytest.raises(UserError, match=message):
            checkVolume(node)
