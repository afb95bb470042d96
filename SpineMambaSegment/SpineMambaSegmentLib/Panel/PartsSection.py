"""The button that divides vertebrae into parts, in the section Measurements."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SpineMambaSegmentLib.Panel.RunSection import RunSection
from SpineMambaSegmentLib.Runs.PartsRun import PartsRun


class PartsSection:
    """A button; the parts become a segmentation of their own.

    Args:
        ui: Widgets of the panel.
        runs: Starts the work.
    """

    def __init__(self, ui: Any, runs: RunSection):
        self._button, self._runs = ui.partsButton, runs
        self._volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        ui.partsButton.connect("clicked(bool)", self.divide)

    def show(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    ) -> None:
        """Enable the button for a segmentation."""
        self._volumeNode, self._node = volumeNode, segmentationNode
        ready = volumeNode is not None and segmentationNode is not None
        nothing = _("Nothing was segmented yet.") if segmentationNode is None else ""
        tip = _(
            "Make a second segmentation with body, pedicles, laminae, processes and endplates of "
            "each vertebra, the discs and the spinal canal"
        )
        self._button.enabled = ready
        self._button.toolTip = tip if ready else nothing or _("Choose the input volume.")

    def divide(self, checked: bool = False) -> None:
        """Divide the vertebrae of the current segmentation."""
        make = partial(self._make, self._volumeNode, self._node)
        self._runs.start(make, _("The vertebrae could not be divided."), self._finished)

    @staticmethod
    def _make(
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        temporaryFolder: Path,
    ) -> PartsRun:
        return PartsRun(volumeNode, segmentationNode, temporaryFolder)

    def _finished(self, run: PartsRun) -> str:
        text = _("Divided: {name} has {count} segments. Check every border.")
        count = run.partsNode.GetSegmentation().GetNumberOfSegments()
        return text.format(name=run.partsNode.GetName(), count=count)
