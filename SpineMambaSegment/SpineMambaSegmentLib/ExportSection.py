"""The section Export: the segmentation and what is known of it, as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SpineMambaSegmentLib import Errors, Export


class ExportSection:
    """Two buttons: the voxels with names, colors and codes; and the numbers of the last run.

    Args:
        ui: Widgets of the panel.
        say: Shows a sentence in the status line.
    """

    def __init__(self, ui: Any, say: Callable[[str], None]):
        self._ui, self._say = ui, say
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        ui.saveButton.connect("clicked(bool)", self.chooseSegmentation)
        ui.saveResultButton.connect("clicked(bool)", self.chooseResult)

    def show(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Offer what can be saved of a segmentation; None offers nothing."""
        self._node = node
        has = node is not None and node.GetSegmentation().GetNumberOfSegments() > 0
        known = has and Export.resultText(node) is not None
        save, saveResult = self._ui.saveButton, self._ui.saveResultButton
        save.enabled, saveResult.enabled = has, known
        nothing = _("Nothing was segmented yet.")
        saveTip = _("Write all segments with names, colors and codes, on the voxels of the volume")
        resultTip = _("Write what was found, how sure, and with what, as JSON")
        save.toolTip = saveTip if has else nothing
        saveResult.toolTip = resultTip if known else nothing

    def chooseSegmentation(self) -> None:
        """Let the user choose where the segmentation goes."""
        self._choose(_("Save segmentation"), Export.SEGMENTATION, self.saveSegmentation)

    def chooseResult(self) -> None:
        """Let the user choose where the result goes."""
        self._choose(_("Save result"), Export.RESULT, self.saveResult)

    def saveSegmentation(self, path: Path) -> None:
        """Write the segmentation, or say why not."""
        with Errors.shown(_("The segmentation could not be saved."), self._say):
            Export.writeSegmentation(self._node, path)
            self._say(_("Saved {file}.").format(file=path.name))

    def saveResult(self, path: Path) -> None:
        """Write the result of the run, or say why not."""
        with Errors.shown(_("The result could not be saved."), self._say):
            Export.writeResult(self._node, path)
            self._say(_("Saved {file}.").format(file=path.name))

    def _choose(self, title: str, suffix: str, save: Callable[[Path], None]) -> None:
        chosen = qt.QFileDialog.getSaveFileName(None, title, f"spine{suffix}", f"(*{suffix})")
        if chosen:
            save(Path(chosen if chosen.endswith(suffix) else chosen + suffix))
