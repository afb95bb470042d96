"""Exported surfaces have the positions of the segments, under every kind of transform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from transformed_boxes import (  # noqa: E402 - after the skip
    BOXES,
    PARENTS,
    ParentTransform,
    labels_array,
    random_geometry,
    write_as_labels,
)
from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from spinemamba.anatomy.label_schemes import VERSE  # noqa: E402
from spinemamba.export.exporter import Export, Target  # noqa: E402
from spinemamba.export.meshing.options import MeshOptions  # noqa: E402
from spinemamba.export.run_files import source_of  # noqa: E402
from spinemamba.labelmaps.read import read_label_file  # noqa: E402
from spinemamba.protocol.manifest import read_manifest  # noqa: E402
from SpineMambaSegmentLib.Scene.Files import VolumeFile  # noqa: E402
from SpineMambaSegmentLib.Scene.Segments import readSegmentation  # noqa: E402
from SpineMambaSegmentLib.Scene.SurfaceSource import leftOut, sourceOf, vertebraeOf  # noqa: E402

FILES = {19: "spine_T12", 28: "spine_T13", 20: "spine_L1"}


@pytest.fixture
def segmented(scene, make_volume, tmp_path: Path):
    """A function that returns the boxes as a segmentation under a transform."""

    def make(seed: int, kind: str):
        volume = make_volume(labels_array(), random_geometry(seed))
        parent = ParentTransform(scene, kind, seed)
        if parent.node is not None:
            volume.SetAndObserveTransformNodeID(parent.node.GetID())
        VolumeFile(volume, tmp_path / "in.nrrd").write()
        write_as_labels(tmp_path / "in.nrrd", tmp_path / "labels.nrrd")
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
        readSegmentation(tmp_path / "labels.nrrd", node, volume)
        return node

    return make


def export(node, folder: Path, **options) -> None:
    folder.mkdir()
    Export(vertebraeOf(node), Target(folder), MeshOptions(**options)).run()


def shown(node, value: int) -> np.ndarray:
    """Return the points of a segment's surface in the world, as Slicer makes and places it."""
    surface = vtk.vtkPolyData()
    assert node.GetClosedSurfaceRepresentation(f"V{value}", surface)
    to_world = vtk.vtkGeneralTransform()
    parent = node.GetParentTransformNode()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(parent, None, to_world)
    moved = vtk.vtkTransformPolyDataFilter()
    moved.SetInputData(surface)
    moved.SetTransform(to_world)
    moved.Update()
    return vtk_to_numpy(moved.GetOutput().GetPoints().GetData())


def read_as_model(scene, path: Path) -> np.ndarray:
    """Return the points of a file in RAS, as Slicer reads it."""
    model = scene.AddNewNodeByClass("vtkMRMLModelNode")
    storage = slicer.vtkMRMLModelStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(model)
    return vtk_to_numpy(model.GetPolyData().GetPoints().GetData())


def bounds(points: np.ndarray) -> np.ndarray:
    return np.array([points.min(axis=0), points.max(axis=0)])


@pytest.mark.parametrize("kind", PARENTS)
@pytest.mark.parametrize("seed", range(6))
def test_files_have_the_bounds_that_slicer_shows(scene, segmented, tmp_path, seed, kind):
    node = segmented(seed, kind)
    # Without smoothing, both surfaces are the same.
    node.GetSegmentation().SetConversionParameter("Smoothing factor", "0")
    assert node.CreateClosedSurfaceRepresentation()
    for space in ("LPS", "RAS"):
        export(node, tmp_path / space, smoothing=0.0, space=space)
        for value in BOXES:
            there = read_as_model(scene, tmp_path / space / f"{FILES[value]}.stl")
            np.testing.assert_allclose(bounds(there), bounds(shown(node, value)), atol=1e-3)


@pytest.mark.parametrize("kind", PARENTS)
def test_every_format_but_gltf_comes_back_to_the_same_place(scene, segmented, tmp_path, kind):
    node = segmented(1, kind)
    export(node, tmp_path / "out", formats=("stl", "ply", "obj"))
    for stem in FILES.values():
        paths = [tmp_path / "out" / f"{stem}.{end}" for end in ("stl", "ply", "obj")]
        first, *others = [bounds(read_as_model(scene, path)) for path in paths]
        for other in others:
            np.testing.assert_allclose(other, first, atol=1e-3)


@pytest.mark.parametrize("kind", PARENTS)
def test_millimetres_and_millilitres_are_those_of_the_world(segmented, tmp_path, kind):
    node = segmented(2, kind)
    export(node, tmp_path / "out")
    for entry in read_manifest(tmp_path / "out").vertebrae:
        assert entry.frame == "scene"
        assert entry.mesh_volume_ml == pytest.approx(entry.label_volume_ml, rel=0.015)
        assert entry.watertight
        assert entry.self_intersections == 0


def test_status_reviewer_and_model_are_in_the_manifest(segmented, tmp_path):
    node = segmented(0, "none")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = node.GetSegmentation().GetSegment("V20")
    logic.SetSegmentStatus(segment, logic.Completed)
    segment.SetTag("SpineMamba.ReviewedBy", "Dr. A")
    segment.SetTag("SpineMamba.Model", "my model 0.3")
    export(node, tmp_path / "out")
    last = read_manifest(tmp_path / "out").vertebrae[-1]
    assert (last.level, last.reviewed, last.reviewed_by) == ("L1", True, "Dr. A")
    assert (last.origin.model, last.origin.model_version) == ("my model", "0.3")
    assert not read_manifest(tmp_path / "out").vertebrae[0].reviewed


def test_a_renamed_segment_is_exported_under_its_new_name(segmented, tmp_path):
    node = segmented(0, "none")
    node.GetSegmentation().GetSegment("V20").SetName("L2")
    node.GetSegmentation().GetSegment("V19").SetName("looks odd")  # its code still says T12
    export(node, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.stl")) == [
        "spine_L2.stl", "spine_T12.stl", "spine_T13.stl",
    ]  # fmt: skip


def test_a_segment_deleted_during_export_is_reported(segmented, tmp_path):
    node = segmented(0, "none")
    (tmp_path / "out").mkdir()
    run = Export(vertebraeOf(node), Target(tmp_path / "out"), MeshOptions())
    node.GetSegmentation().RemoveSegment("V28")
    manifest = run.run()
    assert [entry.level for entry in manifest.vertebrae] == ["T12", "L1"]
    assert manifest.left_out == (("T13", "Its segment was deleted."),)


def test_a_vertebra_at_the_edge_of_the_image_is_reported(scene, make_volume, tmp_path):
    labels = np.zeros((30, 20, 20), np.int16)
    labels[20:, 4:16, 4:16] = 19
    labels[3:12, 4:16, 4:16] = 20
    volume = make_volume(labels, np.diag([-0.7, -0.7, 1.5, 1.0]))
    VolumeFile(volume, tmp_path / "in.nrrd").write()
    write_as_labels(tmp_path / "in.nrrd", tmp_path / "labels.nrrd")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    readSegmentation(tmp_path / "labels.nrrd", node, volume)
    export(node, tmp_path / "out")
    first, second = read_manifest(tmp_path / "out").vertebrae
    assert first.findings[0].startswith("Cut by the image (superior)")
    assert second.findings == ()


def test_segments_without_a_level_are_reported(segmented):
    node = segmented(0, "none")
    assert leftOut(node) == ()
    node.GetSegmentation().AddEmptySegment("Segment_9", "tumour")
    node.GetSegmentation().GetSegment("V20").SetName("L2 corrected")
    names = [vertebra.level for vertebra in vertebraeOf(node)]
    assert names == ["T12", "T13"]
    assert dict(leftOut(node)) == {
        "L2 corrected": "its name and its code mean different levels",
        "tumour": "its name is no level",
    }


@pytest.mark.parametrize("kind", PARENTS)
def test_a_case_is_identified_by_its_labels_in_slicer_and_in_its_file(segmented, tmp_path, kind):
    found = sourceOf(segmented(5, kind), "a b")
    path = tmp_path / "labels.nrrd"
    in_file = source_of(read_label_file(path, VERSE), "a b")
    assert sorted(found.vertebrae) == sorted(in_file.vertebrae) == ["L1", "T12", "T13"]
    assert found.difference(in_file) == ""
    for level, located in found.vertebrae.items():
        assert located.distance_mm(in_file.vertebrae[level]) < 0.01
        assert located.volume_ml == pytest.approx(in_file.vertebrae[level].volume_ml, rel=1e-4)
    assert found.difference(sourceOf(segmented(6, kind), "a_b")) != ""
