"""Suggested screw corridors in the scene: Markups lines that the user can move."""

from __future__ import annotations

import slicer
import vtk

from spinemamba.protocol.planning.markups import ScrewLine, description, diameter_in
from spinemamba.protocol.planning.plan import Plan, suggested_lines

ATTRIBUTE = "SpineMamba.PlanOf"
"""Attribute of every line of a plan: the ID of the planned segmentation."""

_COLOR = (0.3, 0.8, 0.95)
_LINE_SCALE = 1.2
_CLASS = "vtkMRMLMarkupsLineNode"


def showLines(
    plan: Plan, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> list[slicer.vtkMRMLMarkupsLineNode]:
    """Add a line for each suggested corridor; those of an older plan are replaced.

    The lines are under the transform of the segmentation.
    """
    forget(segmentationNode)
    return [_add(line, segmentationNode) for line in suggested_lines(plan)]


def linesOf(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
) -> list[slicer.vtkMRMLMarkupsLineNode]:
    """Return the lines of the plan of a segmentation."""
    collection = segmentationNode.GetScene().GetNodesByClass(_CLASS)
    collection.UnRegister(None)
    nodes = [collection.GetItemAsObject(k) for k in range(collection.GetNumberOfItems())]
    return [node for node in nodes if node.GetAttribute(ATTRIBUTE) == segmentationNode.GetID()]


def forget(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Remove the lines of the plan of a segmentation from the scene."""
    for node in linesOf(segmentationNode):
        segmentationNode.GetScene().RemoveNode(node)


def screwLine(node: slicer.vtkMRMLMarkupsLineNode) -> ScrewLine | None:
    """Return a line as it is now, in the coordinates of the segmentation; None without two ends."""
    if node.GetNumberOfDefinedControlPoints() != 2:
        return None
    points = []
    for index in range(2):
        ras = [0.0, 0.0, 0.0]
        node.GetNthControlPointPosition(index, ras)
        points.append((-ras[0], -ras[1], ras[2]))
    return ScrewLine(node.GetName(), *points, diameter_in(node.GetNthControlPointDescription(0)))


def _add(
    line: ScrewLine, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> slicer.vtkMRMLMarkupsLineNode:
    node = segmentationNode.GetScene().AddNewNodeByClass(_CLASS, line.name)
    node.SetAttribute(ATTRIBUTE, segmentationNode.GetID())
    node.SetAndObserveTransformNodeID(segmentationNode.GetTransformNodeID())
    for what, point in (("entry", line.entry_lps_mm), ("tip", line.tip_lps_mm)):
        place = vtk.vtkVector3d(-point[0], -point[1], point[2])
        index = node.AddControlPoint(place, f"{line.name} {what}")
        node.SetNthControlPointDescription(index, description(line.diameter_mm))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSelectedColor(*_COLOR)
    display.SetGlyphScale(_LINE_SCALE)
    display.SetPropertiesLabelVisibility(False)
    return node
