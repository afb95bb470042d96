"""The editor of the test host with strokes of given voxels, and a count of undo steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from segment_editor import qMRMLSegmentEditorWidget
from vtk.util.numpy_support import numpy_to_vtk


class RealEditor(qMRMLSegmentEditorWidget):
    """Counts undo steps, and paints without a view."""

    main_window: Any = None

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self.undone = 0

    @property
    def history(self) -> slicer.vtkSegmentationHistory:
        return self.logic.GetSegmentationHistory()

    @property
    def shortcuts(self) -> list[Any]:
        return self._shortcuts

    def installKeyboardShortcuts(self, parent: Any = None) -> None:
        super().installKeyboardShortcuts(parent or self.main_window)

    def undo(self) -> None:
        self.undone += 1
        super().undo()

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
