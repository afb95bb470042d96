"""Comparison with a reference: scores and outlined differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from spinemamba.common.errors import UserError  # noqa: E402 - after the skip
from SpineMambaSegmentLib.Scene import (  # noqa: E402
    Comparison,
    Files,
    Segments,
)
from SpineMambaSegmentLib.Scene.Files import writeVolume  # noqa: E402
from SpineMambaSegmentLib.Scene.Grid import gridOf  # noqa: E402
from SpineMambaSegmentLib.Scene.LabelArray import labelArray  # noqa: E402

SHAPE = (30, 10, 10)
MATRIX = np.array([[-0.9, 0.0, 0.0, 4.0], [0.0, -0.9, 0.0, 5.0], [0, 0, 2.0, -7.0], [0, 0, 0, 1]])


def column(**levels: slice) -> np.ndarray:
    """Return labels of boxes; ``v20=slice(2, 6)`` is L1 in slices 2 to 5."""
    labels = np.zeros(SHAPE, np.int16)
    for name, where in levels.items():
        labels[where, 2:8, 2:8] = int(name[1:])
    return labels


@pytest.fixture
def make(scene, make_volume, tmp_path: Path):
    """A function that makes a segmentation of labels; its attribute ``volume`` is the volume."""

    def segmentation(labels: np.ndarray, name: str):
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        writeVolume(make_volume(labels, MATRIX), tmp_path / "labels.nrrd")
        Segments.readSegmentation(tmp_path / "labels.nrrd", node, segmentation.volume)
        return node

    segmentation.volume = make_volume(column(v1=slice(0, 30)), MATRIX)
    return segmentation


def test_each_vertebra_of_the_reference_gets_its_dice_and_its_match(make):
    here = make(column(v19=slice(20, 25), v21=slice(10, 15), v24=slice(0, 3)), "Run")
    there = make(column(v19=slice(20, 25), v20=slice(11, 15), v22=slice(4, 7)), "Truth")
    found = Comparison.compare(here, there, make.volume)
    rows = [(r.name, r.foundAs, round(r.dice, 3)) for r in found.rows]
    assert rows == [("T12", "T12", 1.0), ("L1", "L2", round(8 / 9, 3)), ("L3", None, 0.0)]
    assert found.extra == ("L5",)
    assert found.meanDice == pytest.approx((1 + 8 / 9) / 3)


def test_the_comparison_uses_reviewed_levels_not_those_of_the_run(make):
    here, there = make(column(v20=slice(5, 9)), "Run"), make(column(v21=slice(5, 9)), "Truth")
    here.GetSegmentation().GetSegment("V20").SetName("L2")
    (row,) = Comparison.compare(here, there, make.volume).rows
    assert (row.name, row.foundAs, row.dice) == ("L2", "L2", 1.0)


def test_differences_are_outlined_and_never_saved(make, scene):
    here = make(column(v19=slice(20, 25), v21=slice(10, 15)), "Run")
    there = make(column(v19=slice(20, 27), v20=slice(11, 15)), "Truth")
    found = Comparison.compare(here, there, make.volume)
    node = Comparison.showDifferences(found, make.volume)
    node = Comparison.showDifferences(found, make.volume)
    marked = [
        scene.GetNthNodeByClass(k, "vtkMRMLSegmentationNode")
        for k in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"))
    ]
    assert [n.GetID() for n in marked if n.GetAttribute(Comparison.DIFFERENCES_ATTRIBUTE)] == [
        node.GetID()
    ]
    ids = ["Difference1", "Difference2", "Difference3"]
    shown = labelArray(node, ids, gridOf(make.volume))
    wanted = column(v1=slice(10, 11), v2=slice(25, 27), v3=slice(11, 15))
    np.testing.assert_array_equal(shown, wanted)
    display = node.GetDisplayNode()
    assert display.GetVisibility2DOutline()
    assert not display.GetVisibility2DFill()
    assert not node.GetSaveWithScene()
    Comparison.hideDifferences(scene)
    assert scene.GetNodeByID(node.GetID()) is None


@pytest.mark.parametrize("suffix", [".nrrd", ".seg.nrrd"])
def test_a_reference_is_loaded_from_a_file_without_its_file_name(make, tmp_path: Path, suffix):
    labels = column(v19=slice(20, 25), v20=slice(10, 15))
    path = tmp_path / f"Doe_John{suffix}"
    first = make(labels, "Truth")
    if suffix == ".nrrd":
        (tmp_path / "labels.nrrd").rename(path)
    else:
        Files.writeSegmentation(first, path)
    node = Comparison.loadReference(path, make.volume)
    assert "Doe" not in node.GetName()
    found = Comparison.compare(first, node, make.volume)
    assert [row.dice for row in found.rows] == [1.0, 1.0]
    assert not found.differences.any()


def test_a_segment_named_only_by_its_code_is_compared(make):
    here, there = make(column(v20=slice(5, 9)), "Run"), make(column(v20=slice(5, 9)), "Truth")
    there.GetSegmentation().GetSegment("V20").SetName("checked")
    (row,) = Comparison.compare(here, there, make.volume).rows
    assert (row.name, row.foundAs, row.dice) == ("L1", "L1", 1.0)


def test_instance_numbers_are_refused_as_reference(make, make_volume, tmp_path: Path):
    writeVolume(make_volume(column(v1=slice(0, 5), v2=slice(20, 25)), MATRIX), tmp_path / "n.nrrd")
    with pytest.raises(UserError, match="masks of one or two structures look the same"):
        Comparison.loadReference(tmp_path / "n.nrrd", make.volume)


def test_a_file_that_is_not_a_reference_is_refused_and_leaves_no_node(
    make, scene, make_volume, tmp_path
):
    count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    files = {"grid": make_volume(column(v19=slice(0, 9))[:-1], MATRIX)}
    files["unknown"] = make_volume(column(v99=slice(0, 9)), MATRIX)
    files["empty"] = make_volume(column(), MATRIX)
    for name, volume in files.items():
        writeVolume(volume, tmp_path / f"{name}.nrrd")
    (tmp_path / "broken.seg.nrrd").write_text("no image")
    for path in (*(tmp_path / f"{name}.nrrd" for name in files), tmp_path / "broken.seg.nrrd"):
        with pytest.raises(UserError, match="cannot be used as a reference for this volume"):
            Comparison.loadReference(path, make.volume)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == count


def test_segmentations_that_cannot_be_compared_are_refused(make, scene):
    here, there = make(column(v20=slice(5, 9)), "Run"), make(column(v20=slice(5, 9)), "Truth")
    empty = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Nothing")
    with pytest.raises(UserError, match="Nothing contains no vertebrae"):
        Comparison.compare(here, empty, make.volume)
    there.SetAndObserveTransformNodeID(scene.AddNewNodeByClass("vtkMRMLTransformNode").GetID())
    with pytest.raises(UserError, match="Truth is under another transform"):
        Comparison.compare(here, there, make.volume)
