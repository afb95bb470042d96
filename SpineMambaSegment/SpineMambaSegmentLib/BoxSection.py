"""Find one vertebra anew, or add one that was missed: the model in a box, as a step of review."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from SpineMambaSegmentLib.BoxRun import BoxRun, BoxWish
from SpineMambaSegmentLib.InputSection import InputSection
from SpineMambaSegmentLib.PanelJobs import PanelJobs
from SpineMambaSegmentLib.ReviewBox import setMask
from SpineMambaSegmentLib.ReviewClicks import Place
from SpineMambaSegmentLib.ReviewSection import ReviewSection


class BoxSection:
    """Two buttons.

    Args:
        layout: Where they go.
        review: What is reviewed, and which vertebra is current.
        jobs: Starts the model.
        inputs: Model and device; the volume, where the segmentation does not name its own.
    """

    def __init__(
        self,
        layout: qt.QVBoxLayout,
        review: ReviewSection,
        jobs: PanelJobs,
        inputs: InputSection,
    ):
        self._review, self._jobs, self._inputs = review, jobs, inputs
        self.againButton = qt.QPushButton(_("Find again"))
        self.againButton.setObjectName("againButton")
        self.againButton.connect("clicked(bool)", self.findAgain)
        self.addButton = qt.QPushButton(_("Add missed vertebra"))
        self.addButton.setObjectName("addButton")
        self.addButton.connect("clicked(bool)", self.waitForClick)
        row = qt.QHBoxLayout()
        row.addWidget(self.againButton)
        row.addWidget(self.addButton)
        layout.addLayout(row)
        self.refresh()

    def refresh(self) -> None:
        """Enable what a press can do now, and say why not."""
        session, current = self._review.session, self._review.table.current()
        there = session is not None and self._volumeNode() is not None
        approved = there and current in session.spine.approved()
        self.addButton.enabled = there
        self.addButton.toolTip = _("Press, then click into the body of the vertebra")
        self.againButton.enabled = there and bool(current) and not approved
        self.againButton.toolTip = (
            _("It is approved; take that back first")
            if approved
            else _("Run the model in a box around the current vertebra; all others stay")
        )

    def findAgain(self) -> None:
        """Run the model around the current vertebra, and replace it by what is found."""
        current = self._review.table.current()
        if current:
            self._start(BoxWish(segmentId=current), _("The vertebra could not be found again."))

    def waitForClick(self) -> None:
        """Let the user click into a vertebra that was missed."""
        text = _("Click into the body of the vertebra that was missed.")
        self._review.menus.waitForClicks(1, text, lambda places: self.addAt(places[0]))

    def addAt(self, place: Place) -> None:
        """Run the model around a place, and add the vertebra that is found there.

        Args:
            place: In the body, in the segmentation's own RAS.
        """
        approved = tuple(self._review.session.spine.approved())
        self._start(BoxWish(place, keep=approved), _("The vertebra could not be added."))

    def _start(self, wish: BoxWish, failure: str) -> None:
        session, options = self._review.session, self._inputs.options()
        volumeNode = self._volumeNode()

        def apply(run: BoxRun) -> str:
            # The user may have gone on meanwhile: what counts is the spine as it is now.
            action = setMask(session.spine, run.patch, wish.segmentId)
            if self._review.session is session:
                self._review.do(action)
            else:
                session.apply(action)
            volume_ml = run.patch.result.volume_ml
            return _("{what}: {volume:.1f} mL. Check its outline and its level.").format(
                what=action.title, volume=volume_ml
            )

        self._jobs.start(
            lambda folder: BoxRun(volumeNode, session.node, wish, folder, options), failure, apply
        )

    def _volumeNode(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        session = self._review.session
        if session is not None and session.volumeNode is not None:
            return session.volumeNode
        return self._inputs.volumeNode()
