"""Places that a person clicks in the views, as many as an action wants. MRML only: no Qt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer
import vtk

Place = tuple[float, float, float]
NAME = "SpineMamba clicks"


class Clicks:
    """Waits for clicks in the views; ``stop`` gives it up.

    Args:
        segmentationNode: The places are in this one's own RAS.
        count: How many.
        onDone: Gets them when the last one is there.
    """

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        count: int,
        onDone: Callable[[list[Place]], None],
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
        """Wait no longer, and take the marks away."""
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
        places = [self._place(k) for k in range(self._count)]
        self.stop()
        self._onDone(places)

    def _place(self, number: int) -> Place:
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
