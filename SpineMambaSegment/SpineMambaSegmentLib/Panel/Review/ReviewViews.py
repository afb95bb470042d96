"""Slice and 3-D views after a run and in the review. No Qt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import slicer
import vtk

from SpineMambaSegmentLib.Review.Spine import Spine
from SpineMambaSegmentLib.Scene.Grid import matrixArray
from SpineMambaSegmentLib.Scene.LazyImport import tool

DIM = 0.35
"""Factor on the opacities of dimmed neighbours."""

_DIMMED_ATTRIBUTE = "SpineMamba.DimmedOpacities"
"""Attribute of a display node while neighbours are dimmed: the opacities before, by segment ID.

Slicer announces neither that a scene will be saved nor that it was. A scene saved meanwhile holds
the dimmed opacities; with this attribute, `restoreOpacities` corrects them after loading."""

_OPACITIES = ("Opacity2DFill", "Opacity2DOutline", "Opacity3D")
_SAME_OPACITY = 1e-3
"""Opacities that differ by less are the same; files hold six digits."""

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


class SliceViews:
    """Moves and turns the slice views; remembers how they were before."""

    def __init__(self) -> None:
        self._moved: dict[str, _MovedView] = {}

    def alignWith(self, node: Node, spine: Spine, segmentId: str) -> None:
        """Centre all slice views on a vertebra, aligned with its axes."""
        if not spine.states[segmentId].mask.count():
            return
        body, axes = axesOf(spine, segmentId)
        toWorld = _toWorld(node)
        centre = np.array(toWorld.TransformPoint(body))
        turned = [np.array(toWorld.TransformPoint(body + axis)) - centre for axis in axes.T]
        frame = np.linalg.qr(np.stack(turned[::-1], axis=1))[0]
        frame *= np.sign(np.sum(frame * np.stack(turned[::-1], axis=1), axis=0))
        for view in _sliceViews(node.GetScene()):
            self._move(view, _turned(view, frame[:, ::-1], centre))

    def centreOn(self, node: Node, spine: Spine, segmentId: str) -> None:
        """Centre all slice views on a vertebra, turned as they were before the review."""
        if not spine.states[segmentId].mask.count():
            return
        centre = np.array(_toWorld(node).TransformPoint(spine.centerRas(segmentId)))
        for view in _sliceViews(node.GetScene()):
            matrix = self._unturned(view)
            matrix[:3, 3] = centre
            self._move(view, matrix)

    def restoreAxes(self) -> None:
        """Turn the slice views as they were before the review; their centres stay."""
        for moved in list(self._moved.values()):
            self._move(moved.view, self._unturned(moved.view))

    def restore(self) -> None:
        """Restore the slice views. Those that the user turned or moved meanwhile stay so."""
        for moved in self._moved.values():
            if moved.view.GetScene() is None:
                continue
            isAsLeft = np.allclose(matrixArray(moved.view.GetSliceToRAS()), moved.after)
            _setMatrix(moved.view, moved.before if isAsLeft else self._unturned(moved.view))
            if isAsLeft:
                moved.view.SetSliceOrigin(*moved.pan)
        self._moved.clear()

    def _unturned(self, view: slicer.vtkMRMLSliceNode) -> np.ndarray:
        """Return the present matrix with the former rotation, unless the user has turned it."""
        now, moved = matrixArray(view.GetSliceToRAS()), self._moved.get(view.GetID())
        if moved is not None and np.allclose(now[:3, :3], moved.after[:3, :3]):
            now[:3, :3] = moved.before[:3, :3]
        return now

    def _move(self, view: slicer.vtkMRMLSliceNode, matrix: np.ndarray) -> None:
        moved = self._moved.get(view.GetID())
        if moved is None:
            moved = _MovedView(view, matrixArray(view.GetSliceToRAS()), view.GetXYZOrigin(), matrix)
        view.SetSliceOrigin(0, 0, 0)
        _setMatrix(view, matrix)
        self._moved[view.GetID()] = replace(moved, after=matrix)


@dataclass(frozen=True)
class _MovedView:
    """A slice view that was moved or turned.

    Attributes:
        view: The view.
        before: Its slice to RAS matrix before the first change, (4, 4).
        pan: Its XYZ origin before the first change.
        after: Its slice to RAS matrix after the last change, (4, 4).
    """

    view: slicer.vtkMRMLSliceNode
    before: np.ndarray
    pan: tuple[float, float, float]
    after: np.ndarray


def dimOthers(node: Node, segmentId: str) -> None:
    """Dim all segments but one; an empty ID restores the opacities of all."""
    display = node.GetDisplayNode()
    if display is None:
        return
    known = json.loads(display.GetAttribute(_DIMMED_ATTRIBUTE) or "{}")
    own = {i: _undimmed(display, i, known) for i in node.GetSegmentation().GetSegmentIDs()}
    before = display.StartModify()
    for other, opacities in own.items():
        factor = 1.0 if segmentId in ("", other) else DIM
        for name, opacity in zip(_OPACITIES, opacities, strict=True):
            getattr(display, f"SetSegment{name}")(other, factor * opacity)
    display.SetAttribute(_DIMMED_ATTRIBUTE, json.dumps(own) if segmentId else None)
    display.EndModify(before)


def restoreOpacities(scene: slicer.vtkMRMLScene) -> None:
    """Restore the opacities of all dimmed segments, also of a scene that was saved with them."""
    for node in _nodes(scene, "vtkMRMLSegmentationNode"):
        display = node.GetDisplayNode()
        if display is not None and display.GetAttribute(_DIMMED_ATTRIBUTE):
            dimOthers(node, "")


def _undimmed(display: Any, segmentId: str, known: dict[str, list[float]]) -> list[float]:
    """Return the opacities of a segment before it was dimmed, or those the user set since then."""
    now = [getattr(display, f"GetSegment{name}")(segmentId) for name in _OPACITIES]
    if segmentId not in known:
        return now
    return [
        old if min(abs(new - old), abs(new - DIM * old)) < _SAME_OPACITY else new
        for old, new in zip(known[segmentId], now, strict=True)
    ]


def axialPlane(node: Node, name: str = "Red") -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return position and normal of the axial slice view in a segmentation's own RAS.

    Return None if there is no such view.
    """
    view = next((v for v in _sliceViews(node.GetScene()) if v.GetName() == name), None)
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


def _turned(view: slicer.vtkMRMLSliceNode, frame: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the matrix of a view that is aligned with a frame and centred on a position.

    The frame takes the place of the patient axes in the default orientation of the view. A view
    without a default orientation, because the user has reformatted it, keeps its axes.
    """
    matrix = matrixArray(view.GetSliceToRAS())
    orientation = view.GetDefaultOrientation() or view.GetOrientation()
    if view.HasSliceOrientationPreset(orientation):
        usual = view.GetSliceOrientationPreset(orientation)
        preset = np.array([[usual.GetElement(r, c) for c in range(3)] for r in range(3)])
        matrix[:3, :3] = frame @ preset
    matrix[:3, 3] = centre
    return matrix


def _setMatrix(view: slicer.vtkMRMLSliceNode, matrix: np.ndarray) -> None:
    view.GetSliceToRAS().DeepCopy(matrix.ravel())
    view.UpdateMatrices()


def _sliceViews(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceNode]:
    return list(_nodes(scene, "vtkMRMLSliceNode"))


def _nodes(scene: slicer.vtkMRMLScene, className: str) -> Iterator[Any]:
    for k in range(scene.GetNumberOfNodesByClass(className)):
        yield scene.GetNthNodeByClass(k, className)


def _toWorld(node: Node) -> vtk.vtkGeneralTransform:
    """Return the transform from a segmentation's own RAS to world."""
    toWorld = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        node.GetParentTransformNode(), None, toWorld
    )
    return toWorld
