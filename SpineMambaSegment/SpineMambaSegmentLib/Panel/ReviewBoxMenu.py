"""Entries of the menu Shape that run the model in a box: add a missed vertebra, find one again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from SpineMambaSegmentLib.Panel.PanelJobs import PanelJobs, foundText
from SpineMambaSegmentLib.Runs import ReviewBox
from SpineMambaSegmentLib.Runs.VertebraRun import BoxRun, BoxWish

if TYPE_CHECKING:
    from SpineMambaSegmentLib.Panel.InputSection import InputSection
    from SpineMambaSegmentLib.Panel.ReviewSection import ReviewSection


class ReviewBoxMenu:
    """Runs in a box, whose result is a step of review like any other.

    Args:
        section: Where the result goes.
        jobs: Starts the runs, and shows how far they are.
        inputs: Knows the image, and what the user chose for runs.
    """

    def __init__(
        self,
        section: ReviewSection,
        jobs: PanelJobs,
        inputs: InputSection,
    ):
        self._section, self._jobs = section, jobs
        self._inputs = inputs
        section.menus.addShapes(
            ("grow", _("Add a missed vertebra: click into its body"), self.waitForClick),
            ("again", _("Find the selected one again, in a box"), self.findAgain),
        )

    def waitForClick(self) -> None:
        """Let a person click into the body of a vertebra that was missed, and look for it."""
        text = _("Click into the body of the vertebra that was missed.")
        self._section.menus.waitForClicks(1, text, lambda places: self.grow(places[0]))

    def grow(self, placeRas: tuple[float, float, float]) -> bool:
        """Look for a missed vertebra around a place in the segmentation's own RAS."""
        return self._run(BoxWish(placeRas=placeRas, keep=self._approved()))

    def findAgain(self) -> bool:
        """Look for the current vertebra again, at the network's finest."""
        current = self._section.table.current()
        if current in self._approved():
            self._section.say(_("It is approved; take that back first."))
            return False
        return self._run(BoxWish(segmentId=current, keep=self._approved()))

    def _approved(self) -> tuple[str, ...]:
        return tuple(self._section.session.spine.approved())

    def _run(self, wish: BoxWish) -> bool:
        session, inputs = self._section.session, self._inputs
        volume, options = inputs.volumeNode(), inputs.options()

        def finished(run: BoxRun) -> str:
            action: Any = ReviewBox.setMask(session.spine, run.patch, wish.segmentId)
            changed = session.apply(action)
            self._section.follow(session, changed)
            return foundText(run.patch.result.volume_ml)

        return self._jobs.start(
            lambda folder: BoxRun(volume, session.node, wish, folder, options),
            _("The vertebra could not be found."),
            finished,
        )
