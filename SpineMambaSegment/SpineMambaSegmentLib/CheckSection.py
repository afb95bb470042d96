"""What helps to check a spine as a whole: straightened, against a reference, and handed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from SpineMambaSegmentLib.CompareSection import CompareSection
from SpineMambaSegmentLib.PanelJobs import PanelJobs
from SpineMambaSegmentLib.StraightenedSection import StraightenedSection


class CheckSection:
    """The lower part of the section Review.

    Args:
        ui: Widgets of the panel.
        jobs: Starts what takes time.
        say: Shows a sentence in the status line.
        onSelect: Called with the ID of a vertebra that was clicked.
    """

    def __init__(
        self,
        ui: Any,
        jobs: PanelJobs,
        say: Callable[[str], None],
        onSelect: Callable[[str], None],
    ):
        self._volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        layout = ui.reviewCollapsibleButton.layout()
        self.straightened = StraightenedSection(layout, onSelect)
        self.compare = CompareSection(layout, jobs, say, onSelect)
        self.compare.setMRMLScene(slicer.mrmlScene)

    def show(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        chosenId: str = "",
    ) -> None:
        """Show a segmentation as it is now; None shows nothing."""
        self._volumeNode, self._node = volumeNode, segmentationNode
        self.straightened.show(volumeNode, segmentationNode, chosenId)
        self.compare.show(volumeNode, segmentationNode)

    def select(self, segmentId: str) -> None:
        """Let a vertebra stand out in the strips."""
        self.straightened.show(self._volumeNode, self._node, segmentId)

    def stop(self) -> None:
        """Do nothing more; called before the panel goes."""
        self.straightened.stop()
        self.compare.setMRMLScene(None)
