"""Measurements in the scene: two tables, centroids, endplates and the lines of angles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import slicer
import vtk
from slicer.i18n import tr as _

from spinemamba.protocol.measurements import Item, Measurements, Plate, Vector
from spinemamba.protocol.quantities import Quantity, of_kind

ATTRIBUTE = "SpineMamba.MeasuredOf"
"""Attribute of every node with measurements: the ID of the measured segmentation."""

_SPINE_COLUMNS = (
    "kind",
    "name",
    "view",
    "quantity",
    "value",
    "unit",
    "finding",
    _("not given because"),
    _("uncertainty"),
)
UPPER_COLOR, LOWER_COLOR = (0.95, 0.55, 0.15), (0.2, 0.65, 0.95)
CENTROID_SCALE, LINE_SCALE = 1.2, 1.6


def showTables(
    measured: Measurements, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> list[slicer.vtkMRMLTableNode]:
    """Add a table of vertebrae and one of all other measurements; older tables are replaced.

    A missing value is NaN in the table of vertebrae; the last column gives the reason.
    """
    forget(segmentationNode, "vtkMRMLTableNode")
    vertebrae = _add(segmentationNode, "vtkMRMLTableNode", _("vertebrae"))
    items = measured.of("vertebra")
    _addTexts(vertebrae, "level", [item.name for item in items])
    for quantity in of_kind("vertebra"):
        _addNumbers(vertebrae, quantity, items)
        _addUncertainties(vertebrae, quantity, items)
    reasons = ["; ".join(sorted(set(item.reasons.values()))) for item in items]
    _addTexts(vertebrae, _("not given because"), reasons)
    spine = _add(segmentationNode, "vtkMRMLTableNode", _("discs, angles and curves"))
    rows = [("alert", *[""] * 5, text, "", "") for text in measured.alerts]
    rows += [
        row
        for kind in ("disc", "angle", "curve")
        for item in measured.of(kind)
        for row in _spineRows(item)
    ]
    for column, texts in zip(_SPINE_COLUMNS, zip(*rows, strict=True), strict=False):
        _addTexts(spine, column, texts)
    return [vertebrae, spine]


def _spineRows(item: Item) -> list[tuple[str, ...]]:
    """Return one row of `_SPINE_COLUMNS` for each quantity of a disc, an angle or a curve."""
    finding = ", ".join(item.words.values())
    return [
        (
            item.kind,
            item.name,
            item.view,
            quantity.head,
            item.text(quantity.key, quantity.digits),
            quantity.unit,
            finding,
            item.reasons.get(quantity.key, ""),
            _uncertainty(item, quantity),
        )
        for quantity in of_kind(item.kind)
    ]


def _uncertainty(item: Item, quantity: Quantity) -> str:
    """Return the uncertainty of a value as text; empty if it is unknown."""
    width = item.uncertainties.get(quantity.key)
    return "" if width is None else f"{width:.{quantity.digits + 1}f}"


def showMarkups(
    measured: Measurements, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> list[slicer.vtkMRMLMarkupsNode]:
    """Add centroids, endplates and the lines of angles to the scene; older ones are replaced.

    The markups are locked, and under the transform of the segmentation.
    """
    forget(segmentationNode, "vtkMRMLMarkupsNode")
    centroids = _add(segmentationNode, "vtkMRMLMarkupsFiducialNode", _("centroids"))
    nodes = [centroids]
    for item in measured.of("vertebra"):
        centroids.AddControlPoint(vtk.vtkVector3d(*toRas(item.centre_lps_mm)), item.name)
        for side, plate in item.plates.items():
            color = UPPER_COLOR if side == "superior" else LOWER_COLOR
            nodes.append(_addPlane(segmentationNode, f"{item.name} {side}", plate, color))
    for item in (*measured.of("angle"), *measured.of("curve")):
        nodes += _addAngle(segmentationNode, item)
    for node in nodes:
        node.SetLocked(True)
    return nodes


def nodesOf(
    segmentationNode: slicer.vtkMRMLSegmentationNode, className: str
) -> list[slicer.vtkMRMLNode]:
    """Return the nodes of a class with measurements of a segmentation."""
    collection = segmentationNode.GetScene().GetNodesByClass(className)
    collection.UnRegister(None)
    nodes = [collection.GetItemAsObject(k) for k in range(collection.GetNumberOfItems())]
    return [node for node in nodes if node.GetAttribute(ATTRIBUTE) == segmentationNode.GetID()]


def forget(segmentationNode: slicer.vtkMRMLSegmentationNode, className: str) -> None:
    """Remove the nodes of a class with measurements of a segmentation from the scene."""
    for node in nodesOf(segmentationNode, className):
        segmentationNode.GetScene().RemoveNode(node)


def toRas(position: Vector) -> Vector:
    """Return the RAS coordinates of an LPS position."""
    return -position[0], -position[1], position[2]


def _add(
    segmentationNode: slicer.vtkMRMLSegmentationNode, className: str, what: str
) -> slicer.vtkMRMLNode:
    """Add a node marked as a measurement of a segmentation."""
    name = f"{segmentationNode.GetName()} {what}"
    node = segmentationNode.GetScene().AddNewNodeByClass(className, name)
    node.SetAttribute(ATTRIBUTE, segmentationNode.GetID())
    if node.IsA("vtkMRMLMarkupsNode"):
        node.SetAndObserveTransformNodeID(segmentationNode.GetTransformNodeID())
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetGlyphScale(CENTROID_SCALE)
    return node


def _addTexts(node: slicer.vtkMRMLTableNode, name: str, texts: Sequence[str]) -> None:
    column = vtk.vtkStringArray()
    column.SetName(name)
    for text in texts:
        column.InsertNextValue(text)
    node.AddColumn(column)


def _addNumbers(node: slicer.vtkMRMLTableNode, quantity: Quantity, items: Sequence[Item]) -> None:
    column = vtk.vtkDoubleArray()
    column.SetName(f"{quantity.head} ({quantity.unit})" if quantity.unit else quantity.head)
    for item in items:
        value = item.values.get(quantity.key)
        column.InsertNextValue(math.nan if value is None else round(value, quantity.digits))
    node.AddColumn(column)
    node.SetColumnUnitLabel(column.GetName(), quantity.unit)
    node.SetColumnDescription(column.GetName(), quantity.how)


def _addUncertainties(
    node: slicer.vtkMRMLTableNode, quantity: Quantity, items: Sequence[Item]
) -> None:
    """Add the uncertainties of a quantity, if there are any."""
    widths = [item.uncertainties.get(quantity.key) for item in items]
    if all(width is None for width in widths):
        return
    column = vtk.vtkDoubleArray()
    column.SetName(f"\N{PLUS-MINUS SIGN} {quantity.head} ({quantity.unit})")
    for width in widths:
        column.InsertNextValue(math.nan if width is None else round(width, quantity.digits + 1))
    node.AddColumn(column)
    node.SetColumnUnitLabel(column.GetName(), quantity.unit)


def _addPlane(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    what: str,
    plate: Plate,
    color: tuple[float, float, float],
) -> slicer.vtkMRMLMarkupsPlaneNode:
    """Add an endplate as a plane of the size of the body."""
    node = _add(segmentationNode, "vtkMRMLMarkupsPlaneNode", what)
    right = _step(plate.left_lps_mm, plate.right_lps_mm)
    forward = _step(plate.posterior_lps_mm, plate.anterior_lps_mm)
    # Both vectors lie in the plane, but need not be perpendicular.
    x, z = _unit(right), _unit(_cross(right, forward))
    node.SetCenter(toRas(plate.centre_lps_mm))
    node.SetAxes(x, _cross(z, x), z)
    node.SetSize(math.hypot(*right), math.hypot(*forward))
    display = node.GetDisplayNode()
    display.SetSelectedColor(*color)
    display.SetPropertiesLabelVisibility(False)
    display.SetHandlesInteractive(False)
    display.SetOpacity(0.5)
    return node


def _addAngle(
    segmentationNode: slicer.vtkMRMLSegmentationNode, item: Item
) -> list[slicer.vtkMRMLMarkupsLineNode]:
    """Add the two lines of an angle; none if its value is missing."""
    value = next(iter(item.values.values()))
    if value is None:
        return []
    nodes = []
    for side, plate in item.plates.items():
        what = f"{item.name} {item.view} {value:.0f}\N{DEGREE SIGN} {side}"
        node = _add(segmentationNode, "vtkMRMLMarkupsLineNode", what)
        for position in plate.line(item.view):
            node.AddControlPoint(vtk.vtkVector3d(*toRas(position)))
        display = node.GetDisplayNode()
        display.SetSelectedColor(*(UPPER_COLOR if side == "superior" else LOWER_COLOR))
        display.SetPropertiesLabelVisibility(False)
        display.SetLineThickness(LINE_SCALE / 4)
        nodes.append(node)
    return nodes


def _step(start: Vector, end: Vector) -> list[float]:
    """Return the vector between two LPS positions, in RAS."""
    return [b - a for a, b in zip(toRas(start), toRas(end), strict=True)]


def _cross(one: Sequence[float], other: Sequence[float]) -> list[float]:
    product = [0.0, 0.0, 0.0]
    vtk.vtkMath.Cross(one, other, product)
    return product


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.hypot(*vector)
    return [v / length for v in vector]
