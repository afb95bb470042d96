"""Collects clicks in the views for an action. MRML only, no Qt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer
import vtk

Position = tuple[float, float, float]
NAME = "SpineMamba clicks"


class Clicks:
    """Waits for clicks in the views until ``stop`` is called or all have been made.

    Args:
        segmentationNode: Positions are given in its own RAS (before parent transforms).
        count: Number of clicks.
        onDone: Called with all positions after the last click.
    """

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        count: int,
        onDone: Callable[[list[Position]], None],
    ):
        self._segmentationNode, self._count, self._onDone = segmentationNode, count, onDone
        scene = segmentationNode.GetScene()
        self.markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", NAME)
        self.markups.SetSaveWithScene(False)
        self.markups.CreateDefaultDisplayNodes()
        self.markups.SetMaximumNumberOfControlPoints(count)
        self._tag = self.markups.AddObserver(
            slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent, self._onPoint
        )
        self._setPlacing(True)

    def stop(self) -> None:
        """Stop waiting, and remove the markups from the scene."""
        if self.markups is None:
            return
        self._setPlacing(False)
        self.markups.RemoveObserver(self._tag)
        if self.markups.GetScene() is not None:
            self.markups.GetScene().RemoveNode(self.markups)
        self.markups = None

    def _onPoint(self, caller: slicer.vtkMRMLMarkupsNode, event: int) -> None:
        if caller.GetNumberOfDefinedControlPoints() < self._count:
            return
        positions = [self._position(k) for k in range(self._count)]
        self.stop()
        self._onDone(positions)

    def _position(self, number: int) -> Position:
        fromWorld, world = vtk.vtkGeneralTransform(), np.zeros(3)
        self.markups.GetNthControlPointPositionWorld(number, world)
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
            None, self._segmentationNode.GetParentTransformNode(), fromWorld
        )
        return tuple(map(float, fromWorld.TransformPoint(world)))

    def _setPlacing(self, on: bool) -> None:
        scene = self.markups.GetScene()
        if scene is None:
            return
        selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        if selection is None or interaction is None:
            return
        if not on:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
            return
        selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
        selection.SetActivePlaceNodeID(self.markups.GetID())
        interaction.SetPlaceModePersistence(self._count > 1)
        interaction.SetCurrentInteractionMode(interaction.Place)
