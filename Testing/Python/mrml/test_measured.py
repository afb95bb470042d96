"""Measurements in the scene: tables and markups where the vertebrae are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")

import vtk  # noqa: E402 - after the skip

from spinemamba.protocol.measurements import Item, Measurements, Plate  # noqa: E402
from spinemamba.protocol.quantities import of_kind  # noqa: E402
from SpineMambaSegmentLib.Scene import MeasurementNodes  # noqa: E402

PLATE = Plate(
    centre_lps_mm=(1.0, 2.0, 30.0),
    normal_lps=(0.0, 0.0, 1.0),
    anterior_lps_mm=(1.0, -13.0, 30.0),
    posterior_lps_mm=(1.0, 17.0, 30.0),
    left_lps_mm=(21.0, 2.0, 30.0),
    right_lps_mm=(-19.0, 2.0, 30.0),
)


@pytest.fixture
def measured() -> Measurements:
    numbers = {quantity.key: 10.0 for quantity in of_kind("vertebra")}
    whole = Item("vertebra", "L1", numbers, plates={"superior": PLATE}, centre_lps_mm=(1, 2, 3))
    missing = dict.fromkeys(numbers)
    cut = Item(
        "vertebra", "L2", missing, dict.fromkeys(numbers, "cut"), centre_lps_mm=(4.0, 5.0, 6.0)
    )
    disc = Item("disc", "L1-L2", {"slip_mm": 1.25})
    plates = {"superior": PLATE, "inferior": PLATE}
    angle = Item("angle", "L1-L5", {"angle_deg": 45.2}, view="sagittal", plates=plates)
    other = Item("angle", "T4-T12", {"angle_deg": None}, {"angle_deg": "T4"}, view="sagittal")
    items = (whole, cut, disc, angle, other)
    return Measurements("1", "00", (1.0, 1.0, 1.0), "ct", items, ())


@pytest.fixture
def node(scene):
    return scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")


def test_the_tables_have_a_row_per_vertebra_with_unit_and_description(measured, node):
    vertebrae, spine = MeasurementNodes.showTables(measured, node)
    assert vertebrae.GetNumberOfRows() == 2
    table = vertebrae.GetTable()
    name = "anterior height (mm)"
    assert table.GetColumnByName(name).GetValue(0) == 10
    assert math.isnan(table.GetColumnByName(name).GetValue(1))
    assert vertebrae.GetColumnUnitLabel(name) == "mm"
    assert "15 %" in vertebrae.GetColumnDescription(name)
    assert table.GetColumnByName("not given because").GetValue(1) == "cut"
    texts = [spine.GetCellText(row, 4) for row in range(spine.GetNumberOfRows())]
    assert "1.2" in texts
    assert "45.2" in texts


def test_centroids_endplates_and_lines_lie_where_the_vertebrae_are(measured, node):
    centroids, plane, *lines = MeasurementNodes.showMarkups(measured, node)
    assert [centroids.GetNthControlPointLabel(k) for k in (0, 1)] == ["L1", "L2"]
    assert centroids.GetNthControlPointPositionWorld(0) == pytest.approx((-1, -2, 3))
    corner = [0.0] * 3
    plane.GetCenterWorld(corner)
    assert corner == pytest.approx((-1, -2, 30))
    plane.GetNormalWorld(corner)
    assert corner == pytest.approx((0, 0, 1))
    assert plane.GetSize() == pytest.approx((40, 30))
    assert len(lines) == 2
    ends = [lines[0].GetNthControlPointPositionWorld(k) for k in (0, 1)]
    np.testing.assert_allclose(ends, [(-1, 13, 30), (-1, -17, 30)])
    assert "45\N{DEGREE SIGN}" in lines[0].GetName()


def test_an_endplate_with_lines_not_quite_perpendicular_becomes_a_plane(measured, node):
    tilted = {
        "anterior_lps_mm": (2.0, -13.0, 33.0),
        "posterior_lps_mm": (0.0, 17.0, 27.0),
        "left_lps_mm": (21.0, 3.0, 31.0),
        "right_lps_mm": (-19.0, 1.0, 29.0),
    }
    plate = replace(PLATE, **tilted)
    item = replace(measured.items[0], plates={"superior": plate})
    plane = MeasurementNodes.showMarkups(replace(measured, items=(item,)), node)[1]
    normal, along = [0.0] * 3, np.subtract(*[tilted[k] for k in ("left_lps_mm", "right_lps_mm")])
    plane.GetNormalWorld(normal)
    assert normal[2] > 0.9
    assert np.dot(normal, along * (-1, -1, 1)) == pytest.approx(0, abs=1e-6)


def test_markups_follow_the_transform_of_the_segmentation(measured, node, scene):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 100.0)
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    centroids = MeasurementNodes.showMarkups(measured, node)[0]
    assert centroids.GetNthControlPointPositionWorld(0) == pytest.approx((99, -2, 3))


def test_measuring_again_replaces_nodes_of_this_segmentation_only(measured, node, scene):
    other = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Other")
    for segmentation in (node, other, node):
        MeasurementNodes.showTables(measured, segmentation)
        MeasurementNodes.showMarkups(measured, segmentation)
    for segmentation in (node, other):
        assert len(MeasurementNodes.nodesOf(segmentation, "vtkMRMLTableNode")) == 2
        assert len(MeasurementNodes.nodesOf(segmentation, "vtkMRMLMarkupsNode")) == 4
