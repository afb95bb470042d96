"""What helps to check a spine as a whole: straightened, against a reference, and handed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from SpineMambaSegmentLib import Views
from SpineMambaSegmentLib.CompareSection import CompareSection
from SpineMambaSegmentLib.PanelJobs import PanelJobs
from SpineMambaSegmentLib.StraightenedSection import StraightenedSection


class CheckSection:
    """The lower part of the section Review.

    Args:
        ui: Widgets of the panel.
        jobs: Starts what takes time.
        say: Shows a sentence in the status line.
    """

    def __init__(self, ui: Any, jobs: PanelJobs, say: Callable[[str], None]):
        self._volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        layout = ui.reviewCollapsibleButton.layout()
        self.straightened = StraightenedSection(layout, self.select)
        self.compare = CompareSection(layout, jobs, say, self.select)
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
        """Bring the views to a vertebra, and let it stand out in the strips."""
        if self._node is None or self._node.GetSegmentation().GetSegment(segmentId) is None:
            return
        Views.jumpTo(self._node, segmentId)
        self.straightened.show(self._volumeNode, self._node, segmentId)

    def stop(self) -> None:
        """Do nothing more; called before the panel goes."""
        self.straightened.stop()
        self.compare.setMRMLScene(None)
