"""Stand-in for Slicer's Segment Editor widget, on its real logic and undo history.

It behaves as qMRMLSegmentEditorWidget.cxx: shortcuts of the main window, effects chosen through the
parameter node, and ``undoEnabled``, which hides the buttons but not the keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mrml_widgets
import numpy as np
import qt
import slicer
import slicer.util
import vtk
from PySide6 import QtCore, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

EFFECTS = (
    "Threshold", "Paint", "Draw", "Erase", "Level tracing", "Grow from seeds",
    "Fill between slices", "Margin", "Hollow", "Smoothing", "Scissors", "Islands",
    "Logical operators", "Mask volume",
)  # fmt: skip
"""Effects of Slicer, in its order."""

PREVIOUS_NEXT = ("Q", "W", "/", "*", ",", ".", ">", "<")


class Effect:
    """One effect; what it does is not imitated."""

    def __init__(self, name: str):
        self.name, self.title, self.perSegment = name, name, True


def _stored(name: str, default: bool = True, shown: str = "") -> QtCore.Property:
    def write(self: Any, value: bool) -> None:
        self.stored[name] = value
        if shown:
            self.stored[shown].setVisible(value)

    return QtCore.Property(bool, lambda self: self.stored.get(name, default), write)


@qt.custom
class qMRMLSegmentEditorWidget(mrml_widgets.qMRMLWidget):
    """The editor: parameter node, effects, keys and undo.

    Attributes:
        stored: State that tests look at: ``editor`` (parameter node), ``active`` (name of the
            effect), ``observes`` (clicks in views reach the effect), ``keys`` and ``undone`` (how
            often the editor was asked to undo).
        logic: Slicer's own logic.
    """

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        self.stored: dict[str, Any] = {"observes": False, "keys": False, "undone": 0}
        super().__init__(parent)
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self._effects = {name: Effect(name) for name in EFFECTS}
        self._order, self._last = list(EFFECTS), None
        self._shortcuts: list[QtWidgets.QWidget] = []
        self._tag: int | None = None
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._add_row(layout, "segments", ("Add", self.addSegment), ("Remove", self.removeSegment))
        self._add_row(layout, "history", ("Undo", self.undo), ("Redo", self.redo))

    def _add_row(self, layout: Any, name: str, *buttons: tuple[str, Callable[[], None]]) -> None:
        row = self.stored[name] = QtWidgets.QWidget()
        inside = QtWidgets.QHBoxLayout(row)
        for text, action in buttons:
            button = QtWidgets.QPushButton(text)
            button.clicked.connect(lambda _=False, action=action: action())
            inside.addWidget(button)
        layout.addWidget(row)

    segmentationNodeSelectorVisible = _stored("segmentationNodeSelectorVisible")
    sourceVolumeNodeSelectorVisible = _stored("sourceVolumeNodeSelectorVisible")
    switchToSegmentationsButtonVisible = _stored("switchToSegmentationsButtonVisible")
    specifyGeometryButtonVisible = _stored("specifyGeometryButtonVisible")
    show3DButtonVisible = _stored("show3DButtonVisible")
    maskingSectionVisible = _stored("maskingSectionVisible")
    autoShowSourceVolumeNode = _stored("autoShowSourceVolumeNode")
    jumpToSelectedSegmentEnabled = _stored("jumpToSelectedSegmentEnabled", default=False)
    readOnly = _stored("readOnly", default=False)
    unorderedEffectsVisible = _stored("unorderedEffectsVisible")
    addRemoveSegmentButtonsVisible = _stored("addRemoveSegmentButtonsVisible", shown="segments")

    def _set_undo_enabled(self, enabled: bool) -> None:
        self.stored["undoEnabled"] = enabled
        if enabled:
            self.logic.ClearUndoState()
        self.stored["history"].setVisible(enabled)

    undoEnabled = QtCore.Property(
        bool, lambda self: self.stored.get("undoEnabled", True), _set_undo_enabled
    )
    maximumNumberOfUndoStates = QtCore.Property(
        int,
        lambda self: self.logic.GetMaximumNumberOfUndoStates(),
        lambda self, count: self.logic.SetMaximumNumberOfUndoStates(count),
    )

    def setMRMLScene(self, scene: slicer.vtkMRMLScene) -> None:
        self.stored["scene"] = scene
        self.logic.SetMRMLScene(scene)
        super().setMRMLScene(scene)

    def mrmlSegmentEditorNode(self) -> slicer.vtkMRMLSegmentEditorNode | None:
        return self.stored.get("editor")

    def setMRMLSegmentEditorNode(self, node: slicer.vtkMRMLSegmentEditorNode | None) -> None:
        if self._tag is not None:
            self.stored["editor"].RemoveObserver(self._tag)
            self._tag = None
        self.stored["editor"] = node
        self.logic.SetSegmentEditorNode(node)
        if node is not None:
            self._tag = node.AddObserver("ModifiedEvent", lambda *_: self.updateWidgetFromMRML())
            self.updateWidgetFromMRML()

    def setSegmentationNode(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        self.logic.SetSegmentationNode(node)

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        return self.logic.GetSegmentationNode()

    def setSourceVolumeNode(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        self.logic.SetSourceVolumeNode(node)

    def sourceVolumeNode(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        return self.logic.GetSourceVolumeNode()

    def setCurrentSegmentID(self, segmentId: str) -> None:
        self.logic.SetCurrentSegmentID(segmentId)

    def currentSegmentID(self) -> str:
        return self.logic.GetCurrentSegmentID()

    def setEffectNameOrder(self, names: list[str]) -> None:
        self._order = [name for name in names if name in self._effects]

    def effectNameOrder(self) -> list[str]:
        return list(self._order)

    def availableEffectNames(self) -> list[str]:
        return list(self._effects)

    def effectCount(self) -> int:
        return len(self._shown())

    def effectByName(self, name: str) -> Effect | None:
        return self._effects.get(name)

    def effectByIndex(self, index: int) -> Effect | None:
        names = self._shown()
        return self._effects[names[index]] if index < len(names) else None

    def _shown(self) -> list[str]:
        others = [name for name in self._effects if name not in self._order]
        return [*self._order, *(others if self.unorderedEffectsVisible else [])]

    def activeEffect(self) -> Effect | None:
        return self._effects.get(self.stored.get("active", ""))

    def setActiveEffect(self, effect: Effect | None) -> None:
        node = self.stored.get("editor")
        if node is not None:
            node.SetActiveEffectName("" if effect is None else effect.name)

    def setActiveEffectByName(self, name: str) -> None:
        self.setActiveEffect(self.effectByName(name))

    def updateWidgetFromMRML(self) -> None:
        """Activate the effect that the parameter node names."""
        name = self.stored["editor"].GetActiveEffectName() or ""
        if name == self.stored.get("active", ""):
            return
        self._last = self.activeEffect() or self._last
        self.stored["active"] = name
        if not name:
            self.removeViewObservations()
            return
        self.setupViewObservations()
        interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        if interaction is not None:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def setupViewObservations(self) -> None:
        self.stored["observes"] = True

    def removeViewObservations(self) -> None:
        self.stored["observes"] = False

    def saveStateForUndo(self) -> None:
        self.logic.SaveStateForUndo()

    def undo(self) -> None:
        self.stored["undone"] += 1
        self.logic.Undo()

    def redo(self) -> None:
        self.logic.Redo()

    def addSegment(self) -> None:
        """Press the button *Add*."""
        if self.logic.CanAddSegments():
            self.logic.AddEmptySegment()

    def removeSegment(self) -> None:
        """Press the button *Remove*."""
        if self.logic.CanRemoveSegments() and self.logic.GetSelectedSegment() is not None:
            self.logic.RemoveSelectedSegment()

    def stroke(self, place_ras: tuple[float, float, float], radius_mm: float = 3.0) -> bool:
        """Paint a ball with the active effect, as a click in a view does.

        Returns:
            False if the click does not reach an effect that paints.
        """
        kind = slicer.vtkSlicerSegmentEditorLogic
        modes = {"Paint": kind.ModificationModeAdd, "Erase": kind.ModificationModeRemove}
        mode = modes.get(self.stored.get("active", ""))
        reachable = self.stored["observes"] and self.logic.GetSelectedSegment() is not None
        if mode is None or not reachable or not self.logic.ResetModifierLabelmapToDefault():
            return False
        self.logic.SaveStateForUndo()
        labels = self.logic.GetModifierLabelmap()
        _fill_ball(labels, place_ras, radius_mm)
        node, segment = self.segmentationNode(), self.currentSegmentID()
        self.logic.UpdateMaskLabelmap()
        self.logic.ModifySegmentByLabelmap(node, segment, labels, mode, False, False)
        return True

    def installKeyboardShortcuts(self, parent: QtWidgets.QWidget | None = None) -> None:
        """Install the keys on the main window; Slicer asserts that there is one."""
        self.uninstallKeyboardShortcuts()
        self.stored["keys"] = True
        parent = parent or slicer.util.mainWindow()
        if parent is None:
            return
        keys: list[tuple[Any, Callable[[], None]]] = []
        for number in range(1, 21):
            key = f"{'Shift+' if number > 10 else ''}{number % 10}"
            keys.append((key, lambda k=number - 1: self._toggle(self.effectByIndex(k))))
        standard = qt.QKeySequence.StandardKey
        keys += [("Esc", lambda: self.setActiveEffect(None))]
        keys += [
            ("Space", lambda: self.setActiveEffect(None if self.activeEffect() else self._last))
        ]
        keys += [("Z", self.undo), (standard.Undo, self.undo)]
        keys += [("Y", self.redo), (standard.Redo, self.redo)]
        for k, key in enumerate(PREVIOUS_NEXT):
            keys.append((key, lambda step=1 if k % 2 else -1: self._step(step)))
        keys += [("I", self.logic.ToggleSourceVolumeIntensityMask)]
        for key, action in keys:
            shortcut = qt.QShortcut(qt.QKeySequence(key), parent)
            shortcut.connect("activated()", action)
            self._shortcuts.append(shortcut)

    def uninstallKeyboardShortcuts(self) -> None:
        self.stored["keys"] = False
        for shortcut in self._shortcuts:
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts.clear()

    def _toggle(self, effect: Effect | None) -> None:
        self.setActiveEffect(None if effect is self.activeEffect() else effect)

    def _step(self, step: int) -> None:
        self.logic.SelectSegmentAtOffset(step, True)


def _fill_ball(labels: slicer.vtkOrientedImageData, place_ras: Any, radius_mm: float) -> None:
    """Set the voxels of an image whose centres lie within a radius to one."""
    matrix = vtk.vtkMatrix4x4()
    labels.GetImageToWorldMatrix(matrix)
    extent = labels.GetExtent()
    axes = [np.arange(extent[2 * a], extent[2 * a + 1] + 1) for a in range(3)]
    k, j, i = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    points = np.stack([i, j, k, np.ones_like(i)], axis=-1).astype(float)
    rows = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(3)])
    away = points @ rows.T - np.asarray(place_ras, float)
    inside = (away**2).sum(-1) <= radius_mm**2
    vtk_to_numpy(labels.GetPointData().GetScalars())[:] = inside.ravel()
    labels.Modified()
