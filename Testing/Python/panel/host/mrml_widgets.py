"""Stand-ins for Slicer's MRML widgets, on a real scene."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from PySide6 import QtCore, QtWidgets

SCENE_EVENTS = ("NodeAddedEvent", "NodeRemovedEvent", "EndCloseEvent", "EndBatchProcessEvent")


@qt.custom
class qMRMLWidget(QtWidgets.QWidget):
    """Passes its scene on."""

    mrmlSceneChanged = QtCore.Signal(object)

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        self.mrmlSceneChanged.emit(scene)


@qt.custom
class qMRMLSegmentationShow3DButton(QtWidgets.QPushButton):
    """Adds and removes the surfaces of a segmentation, as Slicer's button does."""

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self.text, self.checkable, self.enabled = "Show 3D", True, False
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self.clicked.connect(self._show)

    def setSegmentationNode(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        self._node = node
        segmentation = None if node is None else node.GetSegmentation()
        self.enabled = segmentation is not None and segmentation.GetNumberOfSegments() > 0
        self.checked = self.enabled and segmentation.ContainsRepresentation("Closed surface")

    def _show(self, on: bool) -> None:
        if on:
            self._node.CreateClosedSurfaceRepresentation()
        else:
            self._node.RemoveClosedSurfaceRepresentation()


def _remove(tags: list[tuple[slicer.vtkMRMLScene, int]]) -> None:
    """Remove observers, which Slicer's widgets do when they are deleted."""
    for scene, tag in tags:
        scene.RemoveObserver(tag)
    tags.clear()


def _flag(name: str, default: bool) -> QtCore.Property:
    def write(self: Any, value: bool) -> None:
        self._values[name] = value
        self.refresh()

    return QtCore.Property(bool, lambda self: self._values.get(name, default), write)


def _text(name: str, default: str) -> QtCore.Property:
    def write(self: Any, value: str) -> None:
        self._values[name] = value
        self.refresh()

    return QtCore.Property(str, lambda self: self._values.get(name, default), write)


@qt.custom
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Offers the nodes of some classes."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        self._values: dict[str, Any] = {}
        super().__init__(parent)
        self._scene: slicer.vtkMRMLScene | None = None
        self._tags: list[tuple[slicer.vtkMRMLScene, int]] = []
        tags = self._tags
        self.destroyed.connect(lambda: _remove(tags))
        self._id = ""
        self._types: list[str] = []
        self._box = QtWidgets.QComboBox()
        self._box.activated.connect(lambda k: self.setCurrentNodeID(self._box.itemData(k)))
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)

    def _set_types(self, types: list[str]) -> None:
        self._types = list(types)
        self.refresh()

    nodeTypes = QtCore.Property("QStringList", lambda self: self._types, _set_types)
    addEnabled, removeEnabled = _flag("add", True), _flag("remove", True)
    renameEnabled, noneEnabled = _flag("rename", False), _flag("none", False)
    showChildNodeTypes = _flag("children", True)
    selectNodeUponCreation = _flag("select", True)
    noneDisplay, baseName = _text("noneDisplay", "None"), _text("baseName", "")

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        _remove(self._tags)
        self._scene = scene
        if scene is not None:
            for name in SCENE_EVENTS:
                event = getattr(slicer.vtkMRMLScene, name)
                self._tags.append((scene, scene.AddObserver(event, lambda *_: self.refresh())))
        self.refresh()

    def nodes(self) -> list[slicer.vtkMRMLNode]:
        """Return the nodes that can be chosen."""
        if self._scene is None:
            return []
        found = [self._scene.GetNthNode(k) for k in range(self._scene.GetNumberOfNodes())]
        return [n for n in found if self._offers(n) and not n.GetHideFromEditors()]

    def _offers(self, node: slicer.vtkMRMLNode) -> bool:
        if self.showChildNodeTypes:
            return any(node.IsA(name) for name in self._types)
        return node.GetClassName() in self._types

    def refresh(self) -> None:
        """Take over what changed in the scene; a node that is gone is deselected."""
        if "_box" not in self.__dict__:
            return
        nodes = self.nodes()
        self._box.clear()
        if self.noneEnabled:
            self._box.addItem(self.noneDisplay, "")
        for node in nodes:
            self._box.addItem(node.GetName(), node.GetID())
        ids = [node.GetID() for node in nodes]
        first = "" if self.noneEnabled or not ids else ids[0]
        self.setCurrentNodeID(self._id if self._id in ids else first)

    def currentNode(self) -> slicer.vtkMRMLNode | None:
        return self._scene.GetNodeByID(self._id) if self._scene and self._id else None

    def setCurrentNode(self, node: slicer.vtkMRMLNode | None) -> None:
        self.setCurrentNodeID("" if node is None else node.GetID())

    def setCurrentNodeID(self, nodeId: str) -> None:
        if nodeId not in [node.GetID() for node in self.nodes()]:
            nodeId = ""
        self._box.setCurrentIndex(self._box.findData(nodeId))
        if nodeId != self._id:
            self._id = nodeId
            self.currentNodeChanged.emit(self.currentNode())
