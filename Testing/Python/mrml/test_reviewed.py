"""Reviewed segments are kept by a new run; segments record their provenance."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402 - after the skip

from spinemamba.anatomy.labels import BY_VALUE  # noqa: E402
from spinemamba.anatomy.terminology import terminology_entry  # noqa: E402
from spinemamba.common.errors import UserError  # noqa: E402
from spinemamba.jobs.segment import segments_of  # noqa: E402
from spinemamba.protocol.flags import Flag  # noqa: E402
from spinemamba.protocol.result import InstanceResult, Result  # noqa: E402
from spinemamba.protocol.review import TAKEN_TAG  # noqa: E402
from SpineMambaSegmentLib.Scene import (  # noqa: E402
    Ownership,
    Provenance,
    Segments,
)
from SpineMambaSegmentLib.Scene.Files import writeVolume  # noqa: E402
from SpineMambaSegmentLib.Scene.Inputs import checkSegmentation, hints  # noqa: E402

SHAPE = (20, 10, 10)
GENERAL = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical "
    "Structure~SCT^66794005^L1 vertebra~^^~Anatomic codes - DICOM master list~^^~^^"
)
TISSUE = (
    "Segmentation category and type - SpineMamba~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~"
    "Anatomic codes - DICOM master list~^^~^^"
)


def column(**levels: slice) -> np.ndarray:
    """Return labels of boxes; ``v20=slice(2, 6)`` is L1 in slices 2 to 5."""
    labels = np.zeros(SHAPE, np.int16)
    for name, where in levels.items():
        labels[where, 2:8, 2:8] = int(name[1:])
    return labels


def voxels_of(node, segment_id: str) -> np.ndarray:
    """Return a segment as a mask of shape `SHAPE`."""
    image = slicer.vtkOrientedImageData()
    assert node.GetBinaryLabelmapRepresentation(segment_id, image)
    extent = image.GetExtent()
    shape = [extent[2 * a + 1] - extent[2 * a] + 1 for a in (2, 1, 0)]
    inside = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape) != 0
    whole = np.zeros(SHAPE, bool)
    k, j, i = extent[4], extent[2], extent[0]
    whole[k : k + shape[0], j : j + shape[1], i : i + shape[2]] = inside
    return whole


@pytest.fixture
def segmented(scene, make_volume, tmp_path: Path):
    """A function that runs labels into one segmentation, as one run after another would."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")

    def run(labels: np.ndarray) -> list[str]:
        volume = make_volume(labels, np.eye(4))
        writeVolume(volume, tmp_path / "labels.nrrd")
        return Segments.readSegmentation(tmp_path / "labels.nrrd", node, volume)

    run.node = node
    return run


def complete(node, segment_id: str) -> None:
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetSegmentStatus(node.GetSegmentation().GetSegment(segment_id), logic.Completed)


def test_a_reviewed_segment_keeps_its_voxels_and_its_name(segmented):
    segmented(column(v19=slice(12, 16), v20=slice(4, 8)))
    complete(segmented.node, "V20")
    segmented.node.GetSegmentation().GetSegment("V20").SetName("L1, checked")
    made = segmented(column(v19=slice(11, 17), v20=slice(3, 9)))
    assert made == ["V19"]
    segment = segmented.node.GetSegmentation().GetSegment("V20")
    assert segment.GetName() == "L1, checked"
    np.testing.assert_array_equal(
        voxels_of(segmented.node, "V20").any(axis=(1, 2)).nonzero()[0], [4, 5, 6, 7]
    )
    np.testing.assert_array_equal(
        voxels_of(segmented.node, "V19").any(axis=(1, 2)).nonzero()[0], range(11, 17)
    )


def test_a_reviewed_vertebra_is_not_duplicated_under_another_name(segmented):
    segmented(column(v20=slice(4, 8)))
    complete(segmented.node, "V20")
    # The same bone, now called L2, and its neighbour now called L1.
    made = segmented(column(v20=slice(12, 16), v21=slice(4, 8)))
    assert len(made) == 1
    assert made[0] != "V20"
    assert Ownership.vertebraIds(segmented.node) == ["V20", *made]
    assert voxels_of(segmented.node, made[0])[12:16, 2:8, 2:8].all()
    assert voxels_of(segmented.node, "V20")[4:8, 2:8, 2:8].all()


def test_a_neighbour_takes_no_voxel_of_a_reviewed_segment(segmented):
    segmented(column(v20=slice(4, 8)))
    complete(segmented.node, "V20")
    segmented(column(v19=slice(7, 14)))
    assert not (voxels_of(segmented.node, "V19") & voxels_of(segmented.node, "V20")).any()
    assert voxels_of(segmented.node, "V19")[8:14, 2:8, 2:8].all()


def test_a_segmentation_of_surfaces_is_refused(scene):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "From STL")
    checkSegmentation(None)
    checkSegmentation(node)
    node.SetSourceRepresentationToClosedSurface()
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "Ball")
    with pytest.raises(UserError, match="From STL consists of surfaces"):
        checkSegmentation(node)


def result() -> Result:
    flags = (Flag("volume_outlier", 0.4, "One."), Flag("cut_by_image", None, "Two."))
    instance = InstanceResult(
        1, 20, "L1", 0.876, (("L2", 0.1),), (), (0.0,) * 3, 31.27, True, (), flags
    )
    return Result(
        "run-7", "starter", "0.1", "abc-def", "0.2", "cpu", "none", "ct", {}, SHAPE, (1.0,) * 3,
        (0.0,) * 3, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), (instance,), (), False, (),
    )  # fmt: skip


def test_segments_and_files_have_the_same_provenance_tags():
    tags = Provenance.tagsByLabel(result())[20]
    in_file = dict(segments_of(result())[0].tags)
    assert in_file.items() <= tags.items()
    assert tags["SpineMamba.Posterior"] == "0.876"
    assert tags["SpineMamba.Flags"] == "One. Two."
    assert tags["SpineMamba.FlagNames"] == "volume_outlier cut_by_image"
    assert tags["DICOM.SegmentAlgorithmType"] == "AUTOMATIC"


def test_the_result_saved_with_the_segmentation_has_no_personal_data(scene, tmp_path: Path):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    assert Provenance.keptResult(node) is None
    result().write(tmp_path / "result.json")
    Provenance.keepResult(node, tmp_path / "result.json")
    assert Provenance.keptResult(node) == result()
    values = json.loads(node.GetAttribute(Provenance.RESULT_ATTRIBUTE))
    assert set(values) == {"schema", *(f.name for f in dataclasses.fields(Result))}
    node.SetAttribute(Provenance.RESULT_ATTRIBUTE, '{"schema": 99}')
    assert Provenance.keptResult(node) is None


def test_levels_sort_from_head_to_tail_and_not_by_number(scene):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    for value in (20, 28, 19, 26, 25):
        node.GetSegmentation().AddEmptySegment(f"V{value}", BY_VALUE[value].name)
        segment = node.GetSegmentation().GetSegment(f"V{value}")
        segment.SetTag("TerminologyEntry", terminology_entry(BY_VALUE[value]))
    names = [node.GetSegmentation().GetSegment(i).GetName() for i in Ownership.vertebraIds(node)]
    assert names == ["T12", "T13", "L1", "L6", "Sacrum"]


FOREIGN = {
    "a vessel": ("V1", "liver vessel", "", ""),
    "a level without a code": ("V20", "L1", "", ""),
    "a level with the code of another terminology": ("V20", "L1", GENERAL, ""),
    "another structure with a tag of ours": ("V20", "tumour", TISSUE, "run"),
    "a vertebra that was taken over": ("vertebrae_L1", "vertebrae_L1", GENERAL, "taken"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_run_leaves_segments_of_other_sources(segmented, case: str):
    segment_id, name, entry, tag = FOREIGN[case]
    segmentation = segmented.node.GetSegmentation()
    segmentation.AddEmptySegment(segment_id, name)
    segment = segmentation.GetSegment(segment_id)
    for key, text in {
        "TerminologyEntry": entry,
        "SpineMamba.Run": "r" * (tag == "run"),
        TAKEN_TAG: "1" * (tag == "taken"),
    }.items():
        if text:
            segment.SetTag(key, text)
    made = segmented(column(v19=slice(12, 16), v20=slice(4, 8)))
    assert segmentation.GetSegment(segment_id) is segment
    assert segment.GetName() == name
    assert segment_id not in made
    again = segmented(column(v19=slice(12, 16)))
    assert sorted(segmentation.GetSegmentIDs()) == sorted([segment_id, *again])


OLD_SCENES = {
    "a vertebra of a run": ("V20", {"SpineMamba.Run": "r"}),
    "a vertebra added in a review": ("V20_1", {"SpineMamba.VolumeMl": "31.0"}),
    "a vertebra of a label file without tags": ("V20", {}),
}


@pytest.mark.parametrize("case", OLD_SCENES)
def test_a_run_replaces_the_vertebrae_of_earlier_scenes(segmented, case: str):
    segment_id, tags = OLD_SCENES[case]
    segmentation = segmented.node.GetSegmentation()
    segmentation.AddEmptySegment(segment_id, "L1")
    segment = segmentation.GetSegment(segment_id)
    segment.SetTag("TerminologyEntry", terminology_entry(BY_VALUE[20]))
    Provenance.setTags(segment, tags)
    assert Ownership.vertebraIds(segmented.node) == [segment_id]
    assert segmented(column(v19=slice(12, 16))) == ["V19"]
    assert list(segmentation.GetSegmentIDs()) == ["V19"]


def test_a_volume_under_a_non_linear_transform_causes_a_warning(scene, make_volume):
    volume = make_volume(column(), np.eye(4))
    assert hints(volume) == []
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    node.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    volume.SetAndObserveTransformNodeID(node.GetID())
    assert len(hints(volume)) == 1
    assert "non-linear" in hints(volume)[0]
