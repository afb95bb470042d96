"""Calibration and femoral heads: what is valid, and where the points are."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
import vtk  # noqa: E402 - after the skip

from spinemamba.common.errors import UserError  # noqa: E402
from spinemamba.measure.calibration import read_line  # noqa: E402
from SpineMambaSegmentLib.Scene.Given import Given, markHips  # noqa: E402

HEADS = ((90.0, 10.0, -40.0), (-80.0, 12.0, -41.0))


@pytest.fixture
def segmentation(scene):
    """A segmentation under a transform."""
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 25.0)
    parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    parent.SetMatrixTransformToParent(matrix)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetAndObserveTransformNodeID(parent.GetID())
    return node


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (("0.8", "5", ""), (0.8, 5.0, 0.0)),
        ((" 0,82 ", "-3,5", "4"), (0.82, -3.5, 4.0)),
        (("1", "0", "0"), (1.0, 0.0, 0.0)),
    ],
)
def test_the_calibration_reaches_the_worker_as_entered(texts, line, tmp_path):
    read = read_line(Given(*texts).writeCalibration(tmp_path / "calibration.json"))
    assert (read.slope_mg_ml_per_hu, read.offset_mg_ml, read.uncertainty_mg_ml) == line


@pytest.mark.parametrize(
    "texts",
    [("0.8", "", ""), ("", "5", ""), ("", "", "3"), ("a", "5", ""), ("-1", "5", ""),
     ("0.8", "5", "-1"), ("nan", "5", ""), ("0.8", "inf", ""), ("80", "5", "")],
)  # fmt: skip
def test_half_a_calibration_or_an_impossible_one_is_refused(texts, tmp_path):
    for action in (Given(*texts).check, lambda: Given(*texts).writeCalibration(tmp_path / "c")):
        with pytest.raises(UserError, match="calibration is not valid"):
            action()
    assert list(tmp_path.iterdir()) == []


def test_no_calibration_and_no_hips_are_nothing(segmentation, tmp_path):
    assert Given().writeCalibration(tmp_path / "calibration.json") is None
    assert Given().hipsLps(segmentation) == ()


def test_femoral_heads_are_named_by_side_and_follow_the_transform(scene, segmentation):
    node = markHips(HEADS, segmentation, None)
    assert [node.GetNthControlPointLabel(k) for k in range(2)] == [
        "left femoral head",
        "right femoral head",
    ]
    given = Given(hipsNode=node)
    left, right = given.hipsLps(segmentation)
    np.testing.assert_allclose(left, (80, -12, -41))
    np.testing.assert_allclose(right, (-90, -10, -40))
    # Points outside the transform are where they are in the views.
    node.SetAndObserveTransformNodeID(None)
    np.testing.assert_allclose(given.hipsLps(segmentation)[0], (80 + 25, -12, -41))
    assert markHips(HEADS, segmentation, node) is node
    assert node.GetNumberOfControlPoints() == 2
    scene.RemoveNode(node)
    assert given.hipsLps(segmentation) == ()


@pytest.mark.parametrize(
    ("points", "why"),
    [
        (HEADS[:1], "has 1 points, not two"),
        ((*HEADS, (0.0, 0.0, 0.0)), "has 3 points, not two"),
        ((HEADS[0], (88.0, 10.0, -40.0)), "marked 2 mm apart"),
    ],
)
def test_points_that_are_no_pair_of_femoral_heads_are_refused(scene, segmentation, points, why):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    for point in points:
        node.AddControlPoint(vtk.vtkVector3d(*point))
    with pytest.raises(UserError, match=why):
        Given(hipsNode=node).hipsLps(segmentation)
