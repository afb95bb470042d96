"""What helps to check a spine as a whole: straightened, against a reference, and measured."""

from __future__ import annotations

from typing import Any

from SpineMambaSegmentLib.Panel.CompareSection import CompareSection
from SpineMambaSegmentLib.Panel.InputSection import InputSection
from SpineMambaSegmentLib.Panel.MeasureSection import MeasureSection
from SpineMambaSegmentLib.Panel.PanelJobs import PanelJobs
from SpineMambaSegmentLib.Panel.ReviewSection import ReviewSection
from SpineMambaSegmentLib.Panel.StraightenedSection import StraightenedSection


class CheckSection:
    """The lower part of the section Review, and Measurements; follow what is reviewed.

    Args:
        ui: Widgets of the panel.
        review: What is reviewed, and which vertebra is current.
        jobs: Starts what takes time.
        inputs: Gives the volume, where the segmentation does not name its own.
    """

    def __init__(self, ui: Any, review: ReviewSection, jobs: PanelJobs, inputs: InputSection):
        self._review, self._inputs = review, inputs
        layout = ui.reviewCollapsibleButton.layout()
        self.straightened = StraightenedSection(layout, review.table.goTo)
        self.compare = CompareSection(layout, jobs, review.say, review.table.goTo)
        self.measure = MeasureSection(ui, jobs)
        review.onShown = self.refresh
        self.refresh()

    def refresh(self) -> None:
        """Show what is reviewed as it is now."""
        session = self._review.session
        node = None if session is None or not session.spine.states else session.node
        volumeNode = self._inputs.volumeNode()
        if session is not None and session.volumeNode is not None:
            volumeNode = session.volumeNode
        self.straightened.show(volumeNode, node, self._review.table.current())
        self.compare.show(volumeNode, node)
        self.measure.show(volumeNode, node)
