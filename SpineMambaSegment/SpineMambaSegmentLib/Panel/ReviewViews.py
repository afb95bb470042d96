"""Slice and 3-D views after a run and in the review. No Qt."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from SpineMambaSegmentLib.Review.Spine import Spine
from SpineMambaSegmentLib.Scene.Grid import matrixArray
from SpineMambaSegmentLib.Scene.LazyImport import tool

DIM = 0.35
"""Opacity of dimmed neighbours."""

_MAX_TILT_DEG = 60.0
"""If an estimated axis deviates more than this from the patient axis, the estimate is rejected."""

Node = slicer.vtkMRMLSegmentationNode


def showSegments(segmentationNode: Node, ids: list[str], layoutManager: Any) -> None:
    """Centre slice and 3-D views on the middle one of several segments.

    The centre of all segments is not used: it may lie outside a curved spine.

    Args:
        segmentationNode: Segmentation of the segments.
        ids: Segment IDs from head to tail.
        layoutManager: Slicer's layout manager; None without a main window.
    """
    if not ids:
        return
    segmentationNode.GetDisplayNode().SetVisibility(True)
    centre = segmentationNode.GetSegmentCenterRAS(ids[len(ids) // 2])
    if centre is not None:
        views = slicer.vtkMRMLSliceNode
        views.JumpAllSlices(segmentationNode.GetScene(), *centre, views.CenteredJumpSlice)
    if layoutManager is None:
        return
    for k in range(layoutManager.threeDViewCount):
        layoutManager.threeDWidget(k).threeDView().resetFocalPoint()


def axesOf(spine: Spine, segmentId: str) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and axes of a vertebra, in the segmentation's own RAS.

    The superior axis is the direction between the bodies of its neighbours. The anterior axis
    points from the centroid of the whole vertebra to its body. The right axis is their product.

    Returns:
        Centre of the body, (3,); right, anterior and superior as columns, (3, 3).
    """
    bodies = {i: _body(spine, i) for i in _neighbourhood(spine, segmentId)}
    body = bodies[segmentId]
    centres = list(bodies.values())
    up = _plausible(centres[0] - centres[-1], np.array([0.0, 0.0, 1.0]))
    front = body - spine.centerRas(segmentId)
    front = _plausible(front - up * (front @ up), np.array([0.0, 1.0, 0.0]))
    front = front - up * (front @ up)
    front /= np.linalg.norm(front)
    return body, np.stack([np.cross(front, up), front, up], axis=1)


def jumpTo(node: Node, spine: Spine, segmentId: str) -> None:
    """Centre all slice views on a vertebra, aligned with its axes."""
    if not spine.states[segmentId].mask.count():
        return
    body, axes = axesOf(spine, segmentId)
    toWorld = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        node.GetParentTransformNode(), None, toWorld
    )
    centre = np.array(toWorld.TransformPoint(body))
    turned = [np.array(toWorld.TransformPoint(body + axis)) - centre for axis in axes.T]
    frame = np.linalg.qr(np.stack(turned[::-1], axis=1))[0]
    frame *= np.sign(np.sum(frame * np.stack(turned[::-1], axis=1), axis=0))
    scene = node.GetScene()
    for k in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        _turn(scene.GetNthNodeByClass(k, "vtkMRMLSliceNode"), frame[:, ::-1], centre)


def centreOn(node: Node, spine: Spine, segmentId: str) -> None:
    """Centre all slice views on a vertebra, aligned with the patient axes."""
    resetOrientation(node.GetScene())
    toWorld, views = vtk.vtkGeneralTransform(), slicer.vtkMRMLSliceNode
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        node.GetParentTransformNode(), None, toWorld
    )
    centre = toWorld.TransformPoint(spine.centerRas(segmentId))
    views.JumpAllSlices(node.GetScene(), *centre, views.CenteredJumpSlice)


def resetOrientation(scene: slicer.vtkMRMLScene) -> None:
    """Reset all slice views to the patient axes."""
    for k in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        sliceNode = scene.GetNthNodeByClass(k, "vtkMRMLSliceNode")
        sliceNode.SetOrientationToDefault()


def dimOthers(node: Node, segmentId: str) -> None:
    """Dim all segments but one; an empty ID resets the opacity of all."""
    display = node.GetDisplayNode()
    if display is None:
        return
    before = display.StartModify()
    for other in node.GetSegmentation().GetSegmentIDs():
        opacity = 1.0 if segmentId in ("", other) else DIM
        display.SetSegmentOpacity2DFill(other, opacity)
        display.SetSegmentOpacity2DOutline(other, opacity)
        display.SetSegmentOpacity3D(other, opacity)
    display.EndModify(before)


def axialPlane(node: Node, name: str = "Red") -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return position and normal of the axial slice view in a segmentation's own RAS.

    Return None if there is no such view.
    """
    scene = node.GetScene()
    views = [
        scene.GetNthNodeByClass(k, "vtkMRMLSliceNode")
        for k in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode"))
    ]
    view = next((v for v in views if v.GetName() == name), None)
    if view is None:
        return None
    matrix = matrixArray(view.GetSliceToRAS())
    fromWorld = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        None, node.GetParentTransformNode(), fromWorld
    )
    position = np.array(fromWorld.TransformPoint(matrix[:3, 3]))
    beyond = np.array(fromWorld.TransformPoint(matrix[:3, 3] + matrix[:3, 2]))
    return tuple(map(float, position)), tuple(map(float, beyond - position))


def _neighbourhood(spine: Spine, segmentId: str) -> list[str]:
    """Return the IDs of a vertebra and its non-empty neighbours, from head to tail."""
    index = spine.indexOf(segmentId)
    neighbours = spine.ids[max(0, index - 1) : index + 2]
    return [i for i in neighbours if spine.states[i].mask.count()]


def _body(spine: Spine, segmentId: str) -> np.ndarray:
    mask = spine.states[segmentId].mask
    kji = tool("imaging.masks").body_centre(mask.array(), spine.spacing_mm)
    return spine.toRas(kji + mask.first)


def _plausible(direction: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Return the unit vector of a direction, or the usual one if the direction is implausible."""
    length = float(np.linalg.norm(direction))
    if length < 1.0 or direction @ usual / length < np.cos(np.radians(_MAX_TILT_DEG)):
        return usual
    return direction / length


def _turn(view: slicer.vtkMRMLSliceNode, frame: np.ndarray, centre: np.ndarray) -> None:
    """Align a slice view with a frame, as its default orientation is with the patient axes."""
    orientation = view.GetDefaultOrientation() or view.GetOrientation()
    if not view.HasSliceOrientationPreset(orientation):  # reformatted by the user
        view.JumpSliceByCentering(*centre)
        return
    usual = view.GetSliceOrientationPreset(orientation)
    preset = np.array([[usual.GetElement(r, c) for c in range(3)] for r in range(3)])
    matrix = view.GetSliceToRAS()
    for (row, column), value in np.ndenumerate(frame @ preset):
        matrix.SetElement(row, column, float(value))
    for row in range(3):
        matrix.SetElement(row, 3, float(centre[row]))
    view.UpdateMatrices()
