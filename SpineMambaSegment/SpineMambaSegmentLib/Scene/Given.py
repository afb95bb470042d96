"""What the user knows and the labels do not contain: calibration of densities, femoral heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.measurements import Vector
from SpineMambaSegmentLib.Scene.LazyImport import tool

_HIPS = 2
_LEAST_APART_MM = 50.0
"""The femoral heads of a child of one year are about 70 mm apart."""

_GLYPH_SCALE = 2.0


@dataclass(frozen=True)
class Given:
    """Inputs of a measurement, as the user has entered them.

    Attributes:
        slope: Slope of the calibration line in mg/mL per HU; empty without a calibration.
        intercept: Density at 0 HU in mg/mL; empty without a calibration.
        uncertainty: Uncertainty of a density from the calibration in mg/mL; may be empty.
        hipsNode: The centres of both femoral heads; None if they are not marked.
    """

    slope: str = ""
    intercept: str = ""
    uncertainty: str = ""
    hipsNode: slicer.vtkMRMLMarkupsFiducialNode | None = None

    def check(self) -> None:
        """Check the calibration.

        Raises:
            UserError: If it is incomplete, not a number, or out of range.
        """
        self._values()

    def writeCalibration(self, path: Path) -> Path | None:
        """Write the calibration for the worker; return None if there is none.

        Raises:
            UserError: As `check`.
        """
        values = self._values()
        if values is None:
            return None
        calibration = tool("measure.calibration")
        calibration.CALIBRATION.write(calibration.CALIBRATION.parse(values), path)
        return path

    def hipsLps(self, segmentationNode: slicer.vtkMRMLSegmentationNode) -> tuple[Vector, ...]:
        """Return both centres in LPS mm, before the transform of a segmentation; empty if unmarked.

        Raises:
            UserError: If there are not two points, or they are too close to each other.
        """
        node = self.hipsNode
        if node is None or node.GetScene() is None:
            return ()
        count = node.GetNumberOfDefinedControlPoints()
        if count != _HIPS or node.GetNumberOfControlPoints() != _HIPS:
            raise UserError(
                _("{name} has {count} points, not two.").format(name=node.GetName(), count=count),
                _("Mark the femoral heads again, or choose no points."),
                Code.INPUT_BAD,
            )
        left, right = (_positionIn(node, k, segmentationNode) for k in range(_HIPS))
        if (apart_mm := math.dist(left, right)) < _LEAST_APART_MM:
            raise UserError(
                _("The femoral heads are marked {distance:.0f} mm apart.").format(
                    distance=apart_mm
                ),
                _("Mark the centres of both, left and right."),
                Code.INPUT_BAD,
            )
        return left, right

    def _values(self) -> dict[str, float] | None:
        """Return the calibration as its file format, or None; raises as `check`."""
        texts = [text.strip() for text in (self.slope, self.intercept, self.uncertainty)]
        if not any(texts):
            return None
        try:
            # A comma is the decimal point of many keyboards.
            slope, intercept, uncertainty = (
                float((text or default).replace(",", "."))
                for text, default in zip(texts, ("", "", "0"), strict=True)
            )
            values = {
                "schema": 1,
                "slope_mg_ml_per_hu": slope,
                "offset_mg_ml": intercept,
                "uncertainty_mg_ml": uncertainty,
            }
            tool("measure.calibration").CALIBRATION.parse(values)
        except ValueError as error:
            raise UserError(
                _("The calibration is not valid: slope {slope}, intercept {intercept}.").format(
                    slope=texts[0] or "-", intercept=texts[1] or "-"
                ),
                _("Enter both in mg/mL, such as 0.8 and 5, or leave both empty."),
                Code.INPUT_BAD,
            ) from error
        return values


def markHips(
    positionsRas: Sequence[Vector],
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    node: slicer.vtkMRMLMarkupsFiducialNode | None,
) -> slicer.vtkMRMLMarkupsFiducialNode:
    """Put the centres of the femoral heads into the scene, as points that can be moved.

    Args:
        positionsRas: Both positions in the segmentation's own RAS.
        segmentationNode: The points are put under its transform.
        node: Points to replace; None adds a node.
    """
    if node is None or node.GetScene() is None:
        scene = segmentationNode.GetScene()
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", _("Femoral heads"))
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetGlyphScale(_GLYPH_SCALE)
    before = node.StartModify()
    node.RemoveAllControlPoints()
    node.SetAndObserveTransformNodeID(segmentationNode.GetTransformNodeID())
    node.SetMaximumNumberOfControlPoints(_HIPS)
    # Left is at negative R.
    names = (_("left femoral head"), _("right femoral head"))
    for name, position in zip(names, sorted(positionsRas), strict=True):
        node.AddControlPoint(vtk.vtkVector3d(*position), name)
    node.EndModify(before)
    return node


def _positionIn(
    node: slicer.vtkMRMLMarkupsNode, index: int, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> Vector:
    """Return a point in LPS, before the parent transforms of a segmentation."""
    fromWorld, world = vtk.vtkGeneralTransform(), np.zeros(3)
    node.GetNthControlPointPositionWorld(index, world)
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        None, segmentationNode.GetParentTransformNode(), fromWorld
    )
    r, a, s = fromWorld.TransformPoint(world)
    return -float(r), -float(a), float(s)
