"""A follow-up in the scene: two tables, and the rigid match of each vertebra as a transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from spinemamba.protocol.quantities import BY_KEY

ATTRIBUTE = "SpineMamba.FollowUpOf"
"""Attribute of every node of a follow-up: the ID of the later segmentation."""

_TABLE, _TRANSFORM = "vtkMRMLTableNode", "vtkMRMLLinearTransformNode"
_SIGNS = (-1.0, -1.0, 1.0)
"""From LPS to RAS, and back."""


def show(followUp: Any, segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Add the tables and transforms of a follow-up; those of an older one are replaced.

    Args:
        followUp: A `follow_up.record.FollowUp`.
        segmentationNode: The later segmentation.
    """
    forget(segmentationNode)
    changes = _add(segmentationNode, _TABLE, _("changes"))
    heads = ("kind", "name", "view", "quantity", "unit", "then", "now", "change", "uncertainty")
    rows = [rowOf(change) for change in followUp.changes]
    _fill(changes, (*heads, _("beyond its uncertainty")), rows)
    matches = _add(segmentationNode, _TABLE, _("matched vertebrae"))
    heads = (_("level"), _("level then"), _("residual (mm)"), _("shift (mm)"), _("turn (deg)"))
    numbers = ("residual_mm", "shift_mm", "turn_deg")
    _fill(
        matches,
        heads,
        [
            (m.level, m.before_level, *(f"{getattr(m, name):.1f}" for name in numbers))
            for m in followUp.matches
        ],
    )
    for match in followUp.matches:
        if match.rotation:
            node = _add(
                segmentationNode, _TRANSFORM, _("{level} then to now").format(level=match.level)
            )
            node.SetMatrixTransformToParent(_rasMatrix(match.rotation, match.translation_mm))


def rowOf(change: Any) -> tuple[str, ...]:
    """Return the cells of a `follow_up.record.Change`."""
    quantity = BY_KEY[change.quantity]
    numbers = (change.before, change.after, change.change, change.uncertainty)
    return (
        change.kind,
        change.name,
        change.view,
        quantity.head,
        change.unit,
        *(f"{number:.{quantity.digits}f}" for number in numbers),
        _("yes") if change.beyond else _("no"),
    )


def nodesOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[slicer.vtkMRMLNode]:
    """Return the nodes of the follow-up of a segmentation."""
    scene, found = segmentationNode.GetScene(), []
    for name in (_TABLE, _TRANSFORM):
        collection = scene.GetNodesByClass(name)
        collection.UnRegister(None)
        found += [collection.GetItemAsObject(k) for k in range(collection.GetNumberOfItems())]
    return [node for node in found if node.GetAttribute(ATTRIBUTE) == segmentationNode.GetID()]


def forget(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Remove the nodes of the follow-up of a segmentation from the scene."""
    for node in nodesOf(segmentationNode):
        segmentationNode.GetScene().RemoveNode(node)


def _add(
    segmentationNode: slicer.vtkMRMLSegmentationNode, className: str, what: str
) -> slicer.vtkMRMLNode:
    name = f"{segmentationNode.GetName()} {what}"
    node = segmentationNode.GetScene().AddNewNodeByClass(className, name)
    node.SetAttribute(ATTRIBUTE, segmentationNode.GetID())
    return node


def _fill(
    node: slicer.vtkMRMLTableNode, heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    for index, head in enumerate(heads):
        column = vtk.vtkStringArray()
        column.SetName(head)
        for row in rows:
            column.InsertNextValue(row[index])
        node.AddColumn(column)


def _rasMatrix(
    rotation: Sequence[Sequence[float]], translation_mm: Sequence[float]
) -> vtk.vtkMatrix4x4:
    """Return a rigid motion in LPS as a matrix in RAS."""
    matrix = vtk.vtkMatrix4x4()
    for r in range(3):
        for c in range(3):
            matrix.SetElement(r, c, _SIGNS[r] * _SIGNS[c] * rotation[r][c])
        matrix.SetElement(r, 3, _SIGNS[r] * translation_mm[r])
    return matrix
