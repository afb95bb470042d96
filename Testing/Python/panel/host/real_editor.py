"""Slicer's Segment Editor as far as it runs without Slicer: its logic, its history, its keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt
import slicer
import vtk
from mrml_widgets import qMRMLSegmentEditorWidget
from vtk.util.numpy_support import numpy_to_vtk

KEYS = ("Z", "Y", "Esc", "Space", "I", "Q", "W", *map(str, range(10)))
STANDARD = (qt.QKeySequence.Undo, qt.QKeySequence.Redo)
"""What qMRMLSegmentEditorWidget::installKeyboardShortcuts installs, without less common keys."""


class RealEditor(qMRMLSegmentEditorWidget):
    """Saves a state before each stroke, and restores states, as Slicer's widget does."""

    main_window: Any = None

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self.history = slicer.vtkSegmentationHistory()
        self.logic.SetSegmentationHistory(self.history)
        self.history.SetMaximumNumberOfStates(10)
        self.shortcuts: list[qt.QShortcut] = []
        self.undone = 0

    @property
    def maximumNumberOfUndoStates(self) -> int:
        return self.history.GetMaximumNumberOfStates()

    @maximumNumberOfUndoStates.setter
    def maximumNumberOfUndoStates(self, count: int) -> None:
        self.logic.SetMaximumNumberOfUndoStates(count)

    def setMRMLSegmentEditorNode(self, node: slicer.vtkMRMLSegmentEditorNode) -> None:
        super().setMRMLSegmentEditorNode(node)
        self.logic.SetMRMLScene(node.GetScene())
        self.logic.SetSegmentEditorNode(node)

    def setSegmentationNode(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        super().setSegmentationNode(node)
        self.history.SetSegmentation(None if node is None else node.GetSegmentation())

    def installKeyboardShortcuts(self, parent: Any = None) -> None:
        self.uninstallKeyboardShortcuts()
        super().installKeyboardShortcuts(parent)
        for key in (*KEYS, *STANDARD):
            shortcut = qt.QShortcut(qt.QKeySequence(key), parent or self.main_window)
            if key in ("Z", qt.QKeySequence.Undo):
                shortcut.connect("activated()", self.undo)
            self.shortcuts.append(shortcut)

    def uninstallKeyboardShortcuts(self) -> None:
        super().uninstallKeyboardShortcuts()
        for shortcut in self.shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
        self.shortcuts.clear()

    def undo(self) -> None:
        self.undone += 1
        if self.logic.CanUndo():
            self.logic.Undo()

    def paint(self, voxels: np.ndarray) -> None:
        """Add voxels (k, j, i) to the current segment, as a stroke does."""
        node = self.logic.GetSegmentEditorNode()
        segmentation = node.GetSegmentationNode()
        self.logic.SaveStateForUndo()
        image, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
        image.SetDimensions(voxels.shape[::-1])
        flat = np.ascontiguousarray(voxels, np.uint8).ravel()
        image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
        node.GetSourceVolumeNode().GetIJKToRASMatrix(matrix)
        image.SetImageToWorldMatrix(matrix)
        self.logic.ModifySegmentByLabelmap(
            segmentation, node.GetSelectedSegmentID(), image, self.logic.ModificationModeAdd,
            True, False,
        )  # fmt: skip
