"""Collects clicks in the views for an action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import qt
import slicer
import vtk

Position = tuple[float, float, float]
NAME = "SpineMamba clicks"
_CLASS = "vtkMRMLMarkupsFiducialNode"


class Clicks:
    """Waits for clicks in the views until ``stop`` is called, all were made, or the user gave up.

    Giving up means that the place mode ended or was taken by another node (Esc, right click, mouse
    toolbar, another module), or that the markups were deleted.

    All these are events of nodes that are still in use by Slicer's markups widget when they
    arrive. Nothing is removed and no action is done before control is back in the event loop.

    Args:
        segmentationNode: Positions are given in its own RAS (before parent transforms).
        count: Number of clicks.
        onDone: Called with all positions after the last click.
        onCancelled: Called when the user gave up; not called by ``stop``.
    """

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        count: int,
        onDone: Callable[[list[Position]], None],
        onCancelled: Callable[[], None],
    ):
        self._segmentationNode, self._count = segmentationNode, count
        self._onDone, self._onCancelled = onDone, onCancelled
        self._check = qt.QTimer()
        self._check.setSingleShot(True)
        self._check.setInterval(0)
        self._check.connect("timeout()", self._onCheck)
        scene = segmentationNode.GetScene()
        # Adding markups changes the place mode: the module Markups makes them the active ones.
        self._placing = _PlaceMode.of(scene)
        self.markups = scene.AddNewNodeByClass(_CLASS, NAME)
        self.markups.SetSaveWithScene(False)
        self.markups.CreateDefaultDisplayNodes()
        self._display = self.markups.GetDisplayNode()
        self._display.SetSaveWithScene(False)
        self.markups.SetMaximumNumberOfControlPoints(count)
        if self._placing is not None:
            self._placing.start(self.markups, persistent=count > 1)
        self._observers = [(node, node.AddObserver(e, self._onEvent)) for node, e in self._events()]

    def stop(self) -> None:
        """Stop waiting, and remove the markups from the scene."""
        self._end(restoreMode=True)

    def _events(self) -> list[tuple[Any, int]]:
        """Return the events after which the clicks may be complete or given up."""
        scene = self.markups.GetScene()
        events = [
            (self.markups, slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent),
            (scene, scene.NodeRemovedEvent),
        ]
        if self._placing is not None:
            mode, selection = self._placing.interaction, self._placing.selection
            events += [
                (mode, mode.InteractionModeChangedEvent),
                (selection, selection.ActivePlaceNodeIDChangedEvent),
                (selection, selection.ActivePlaceNodeClassNameChangedEvent),
            ]
        return events

    def _onEvent(self, caller: Any, event: str) -> None:
        self._check.start()

    def _onCheck(self) -> None:
        markups, scene = self.markups, self._segmentationNode.GetScene()
        if markups is None:
            return
        isPresent = scene is not None and markups.GetScene() is scene
        if isPresent and self._missing() <= 0:
            positions = [self._position(k) for k in range(self._count)]
            self._end(restoreMode=True)
            self._onDone(positions)
        elif not isPresent or (self._placing is not None and not self._placing.isFor(markups)):
            self._end(restoreMode=False)
            self._onCancelled()
        elif self._placing is not None and self._missing() == 1:
            self._placing.endWithNextPoint()

    def _missing(self) -> int:
        return self._count - self.markups.GetNumberOfDefinedControlPoints()

    def _end(self, *, restoreMode: bool) -> None:
        markups, self.markups = self.markups, None
        if markups is None:
            return
        self._check.stop()
        self._check.deleteLater()
        for node, tag in self._observers:
            node.RemoveObserver(tag)
        if self._placing is not None:
            self._placing.end(markups, restoreMode=restoreMode)
        for node in (markups, self._display):
            if node.GetScene() is not None:
                node.GetScene().RemoveNode(node)

    def _position(self, number: int) -> Position:
        fromWorld, world = vtk.vtkGeneralTransform(), np.zeros(3)
        self.markups.GetNthControlPointPositionWorld(number, world)
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
            None, self._segmentationNode.GetParentTransformNode(), fromWorld
        )
        return tuple(map(float, fromWorld.TransformPoint(world)))


@dataclass(frozen=True)
class _PlaceMode:
    """Slicer's place mode, and what it was before.

    Attributes:
        interaction: Holds the interaction mode of the views.
        selection: Holds the class and the ID of the node that is being placed.
        mode: Former interaction mode.
        persistence: Former persistence of the place mode.
        className: Former class of the placed node; may be None.
        nodeId: Former ID of the placed node; may be None.
    """

    interaction: Any
    selection: Any
    mode: int
    persistence: int
    className: str | None
    nodeId: str | None

    @classmethod
    def of(cls, scene: slicer.vtkMRMLScene) -> _PlaceMode | None:
        """Return the current state of a scene; None without an application."""
        interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        if selection is None or interaction is None:
            return None
        return cls(
            interaction, selection,
            interaction.GetCurrentInteractionMode(), interaction.GetPlaceModePersistence(),
            selection.GetActivePlaceNodeClassName(), selection.GetActivePlaceNodeID(),
        )  # fmt: skip

    def start(self, markups: slicer.vtkMRMLMarkupsNode, *, persistent: bool) -> None:
        """Let clicks in the views place points of the markups."""
        self.selection.SetReferenceActivePlaceNodeClassName(_CLASS)
        self.selection.SetActivePlaceNodeID(markups.GetID())
        self.interaction.SetPlaceModePersistence(persistent)
        self.interaction.SetCurrentInteractionMode(self.interaction.Place)

    def endWithNextPoint(self) -> None:
        """Let Slicer end the place mode itself; a click too many would start other markups."""
        self.interaction.SetPlaceModePersistence(False)

    def isFor(self, markups: slicer.vtkMRMLMarkupsNode) -> bool:
        """Return whether clicks still place points of the markups."""
        isPlacing = self.interaction.GetCurrentInteractionMode() == self.interaction.Place
        return isPlacing and self._hasNode(markups)

    def end(self, markups: slicer.vtkMRMLMarkupsNode, *, restoreMode: bool) -> None:
        """Restore the former state; a node or mode that the user chose meanwhile is kept.

        Args:
            markups: The markups that were placed.
            restoreMode: If False, the interaction mode is left unless it would place the markups.
        """
        # Without the markups, the selection node names no node.
        isGone = markups.GetScene() is None and not self.selection.GetActivePlaceNodeID()
        if not isGone and not self._hasNode(markups):
            return
        isPlacing = self.interaction.GetCurrentInteractionMode() == self.interaction.Place
        self.interaction.SetPlaceModePersistence(self.persistence)
        self.selection.SetReferenceActivePlaceNodeClassName(self.className)
        self.selection.SetActivePlaceNodeID(self.nodeId)
        if restoreMode or isPlacing:
            self.interaction.SetCurrentInteractionMode(self.mode)

    def _hasNode(self, markups: slicer.vtkMRMLMarkupsNode) -> bool:
        return (
            self.selection.GetActivePlaceNodeID() == markups.GetID()
            and self.selection.GetActivePlaceNodeClassName() == _CLASS
        )
