"""Which volumes and segmentations a run accepts, and what it says of the others."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

import vtk  # noqa: E402
from review_helpers import add_spine, oriented, spine_labels  # noqa: E402

from spinemamba.common.errors import Code, UserError  # noqa: E402 - after the skip
from SpineMambaSegmentLib.Runs.RunManager import RunManager  # noqa: E402
from SpineMambaSegmentLib.Runs.SegmentRun import SegmentRun  # noqa: E402
from SpineMambaSegmentLib.Scene import Inputs, Segments, WriteMark  # noqa: E402

Logic = slicer.vtkSlicerSegmentationsModuleLogic
SURFACE = Segments.SURFACE
FRACTIONS = slicer.vtkSegmentationConverter.GetSegmentationFractionalLabelmapRepresentationName()
SCALAR = "vtkMRMLScalarVolumeNode"


def image_of(shape: tuple[int, int, int], components: int = 1, filled: bool = True):
    image = vtk.vtkImageData()
    image.SetDimensions(*shape)
    if filled:
        image.AllocateScalars(vtk.VTK_SHORT, components)
    return image


VOLUMES = {
    "no image": (SCALAR, None, "has no voxels"),
    "no size": (SCALAR, image_of((0, 0, 0), filled=False), "has no voxels"),
    "no scalars": (SCALAR, image_of((8, 8, 8), filled=False), "has no voxels"),
    "single slice": (SCALAR, image_of((8, 8, 1)), r"not a 3-D image \(8 x 8 x 1\)"),
    "three components": (SCALAR, image_of((8, 8, 8), 3), "3 values per voxel"),
    "color": ("vtkMRMLVectorVolumeNode", image_of((8, 8, 8), 3), "3 values per voxel"),
    "label map": ("vtkMRMLLabelMapVolumeNode", image_of((8, 8, 8)), "label map, not an image"),
    "tensor": ("vtkMRMLDiffusionTensorVolumeNode", image_of((8, 8, 8)), "a tensor per voxel"),
    "diffusion": ("vtkMRMLDiffusionWeightedVolumeNode", image_of((8, 8, 8), 7), "7 values per"),
    "image": (SCALAR, image_of((8, 8, 8)), ""),
}


@pytest.mark.parametrize("case", VOLUMES)
def test_volumes_are_checked_before_the_run(scene, case, tmp_path):
    kind, image, message = VOLUMES[case]
    node = scene.AddNewNodeByClass(kind, "Case")
    if image is not None:
        node.SetAndObserveImageData(image)
    if not message:
        Inputs.checkVolume(node)
        return
    with pytest.raises(UserError, match=message) as caught:
        RunManager(lambda: tmp_path).start(node)
    assert caught.value.code is Code.INPUT_BAD
    assert "Case" in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def volume(make_volume):
    return make_volume(spine_labels().astype(np.int16), np.eye(4))


def ball(node, source: str):
    """Add a ball, with a representation as the source of the segmentation."""
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(8, 10, 30)
    sphere.SetRadius(5)
    sphere.Update()
    node.SetSourceRepresentationToClosedSurface()
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "Ball")
    segmentation = node.GetSegmentation()
    if source != SURFACE:
        assert segmentation.CreateRepresentation(source)
        segmentation.SetSourceRepresentationName(source)
    assert segmentation.GetSourceRepresentationName() == source


SOURCES = {
    SURFACE: "consists of surfaces, not voxels",
    FRACTIONS: "fractional label maps, not of binary ones",
    Inputs.BINARY: "",
}


@pytest.mark.parametrize("source", SOURCES)
def test_sources_of_segmentations_are_checked_before_the_run(scene, volume, source, tmp_path):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Case")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    ball(node, source)
    if not SOURCES[source]:
        Inputs.checkSegmentation(node, volume)
        return
    with pytest.raises(UserError, match=f"Case .*{SOURCES[source]}") as caught:
        RunManager(lambda: tmp_path).start(volume, node)
    assert "Make Binary labelmap its source representation" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", SOURCES)
def test_an_empty_segmentation_of_any_source_takes_segments(scene, volume, source):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Case")
    node.GetSegmentation().SetSourceRepresentationName(source)
    Inputs.checkSegmentation(node, volume)
    made = Segments.addSegments(oriented(spine_labels(), np.eye(4)), node, volume)
    assert len(made) == 8
    assert node.GetSegmentation().GetSourceRepresentationName() == Inputs.BINARY
    Segments.keepSurfaces(node, {i: Segments.surfaceOf(node, i) for i in made})
    bounds = np.zeros(6)
    node.GetSegmentation().GetSegment(made[0]).GetBounds(bounds)
    assert bounds[1] > bounds[0]


def moved(scene):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Move")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 100.0)
    transform.SetMatrixTransformToParent(matrix)
    return transform


def test_segments_that_are_kept_do_not_move(scene, volume):
    node = add_spine(volume, spine_labels())
    node.SetAndObserveTransformNodeID(moved(scene).GetID())
    Inputs.checkSegmentation(node, volume)  # all its segments will be replaced
    Logic.SetSegmentStatus(node.GetSegmentation().GetSegment("V20"), Logic.Completed)
    with pytest.raises(UserError, match="Spine and CT are under different transforms"):
        Inputs.checkSegmentation(node, volume)
    Logic.SetSegmentStatus(node.GetSegmentation().GetSegment("V20"), Logic.NotStarted)
    node.GetSegmentation().AddEmptySegment("Tumor")
    with pytest.raises(UserError, match="under different transforms"):
        Inputs.checkSegmentation(node, volume)
    volume.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    Inputs.checkSegmentation(node, volume)


def test_what_is_special_about_the_inputs_is_said_before_the_run(scene, volume):
    assert Inputs.hints(volume) == []
    bent = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Bent")
    volume.SetAndObserveTransformNodeID(bent.GetID())
    assert "non-linear transform" in Inputs.hints(volume)[0]
    volume.SetAndObserveTransformNodeID(None)
    node = add_spine(volume, spine_labels())
    editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode", "Editor")
    editor.SetAndObserveSegmentationNode(node)
    assert Inputs.hints(volume, node) == []
    editor.SetActiveEffectName("Paint")
    assert Inputs.hints(volume, node) == [
        "Spine is being edited with the effect Paint of the Segment Editor."
    ]


def test_one_run_writes_a_segmentation_at_a_time(scene, volume, tmp_path):
    node = add_spine(volume, spine_labels())
    before = scene.GetNumberOfNodes()
    run = SegmentRun(volume, node, tmp_path)
    with pytest.raises(UserError, match="Another run of SpineMamba Segment, over CT, is going to"):
        RunManager(lambda: tmp_path).process(volume, node)
    other = SegmentRun(volume, None, tmp_path)
    for started in (run, other):
        started.stopNow()
    assert scene.GetNumberOfNodes() == before
    WriteMark.check(node)
    assert list(tmp_path.iterdir()) == []


def test_the_mark_of_a_run_is_not_saved(scene, volume):
    mark = WriteMark.place(add_spine(volume, spine_labels()), volume)
    assert mark.GetHideFromEditors()
    assert not mark.GetSaveWithScene()
    WriteMark.remove(mark)
    WriteMark.remove(mark)
