"""Sections that show the whole spine: straightened spine, comparison and measurements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from SpineMambaSegmentLib.Application.UserSettings import UserSettings
from SpineMambaSegmentLib.Panel.CompareSection import CompareSection
from SpineMambaSegmentLib.Panel.FollowUpSection import FollowUpSection
from SpineMambaSegmentLib.Panel.GivenSection import GivenSection
from SpineMambaSegmentLib.Panel.InputSection import InputSection
from SpineMambaSegmentLib.Panel.MeasureSection import MeasureSection
from SpineMambaSegmentLib.Panel.PartsSection import PartsSection
from SpineMambaSegmentLib.Panel.PlanSection import PlanSection
from SpineMambaSegmentLib.Panel.Review.ReviewSection import ReviewSection
from SpineMambaSegmentLib.Panel.RunSection import RunSection
from SpineMambaSegmentLib.Panel.StraightenedSection import StraightenedSection
from SpineMambaSegmentLib.Review.Evidence import Ribs, ribsOf


class CheckSection:
    """The lower part of the section Review, and Measurements; they follow the review.

    Args:
        ui: Widgets of the panel.
        review: Segmentation under review, and current vertebra.
        runs: Starts runs of the worker.
        inputs: Volume, if the segmentation does not refer to one.
        settings: Remembers the folders of file dialogs.
        copy: Copies a text to the clipboard.
    """

    def __init__(
        self,
        ui: Any,
        review: ReviewSection,
        runs: RunSection,
        inputs: InputSection,
        *,
        settings: UserSettings,
        copy: Callable[[str], None],
    ):
        self._review, self._inputs = review, inputs
        layout = ui.reviewCollapsibleButton.layout()
        self.straightened = StraightenedSection(layout, review.table.goTo)
        self.compare = CompareSection(layout, runs, review.say, review.table.goTo, settings)
        inside = ui.measureCollapsibleButton.layout()
        self.given = GivenSection(inside, inputs, review.say)
        self.measure = MeasureSection(ui, runs, settings, copy, self.given.given)
        self.parts = PartsSection(ui, runs)
        self.plan = PlanSection(inside, runs)
        self.followUp = FollowUpSection(inside, runs, settings, self.given.given)
        self.refresh()

    def refresh(self) -> None:
        """Show the current state of the review."""
        session = self._review.session
        node = None if session is None or not session.spine.states else session.node
        volumeNode = self._inputs.volumeNode()
        if session is not None and session.volumeNode is not None:
            volumeNode = session.volumeNode
        ribs = Ribs() if node is None else ribsOf(session.spine)
        self.straightened.show(volumeNode, node, self._review.table.current(), ribs)
        self.compare.show(volumeNode, node)
        self.given.show(node)
        self.measure.show(volumeNode, node)
        self.followUp.show(volumeNode, node)
        self.parts.show(volumeNode, node)
        self.plan.show(volumeNode, node)
