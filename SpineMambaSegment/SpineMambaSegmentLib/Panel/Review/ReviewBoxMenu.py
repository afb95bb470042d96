"""Menu entries that run the networks: add or re-segment a vertebra, level evidence for all."""

from __future__ import annotations

from slicer.i18n import tr as _

from SpineMambaSegmentLib.Panel.InputSection import InputSection
from SpineMambaSegmentLib.Panel.Review.ReviewHost import ReviewHost
from SpineMambaSegmentLib.Panel.Review.ReviewMenus import ReviewMenus
from SpineMambaSegmentLib.Panel.RunSection import RunSection
from SpineMambaSegmentLib.Runs.EvidenceRun import EvidenceRun
from SpineMambaSegmentLib.Runs.VertebraRun import VertebraRequest, VertebraRun, setMask


class ReviewBoxMenu:
    """Adds and re-segments vertebrae, and adds level evidence; each is one step of the review.

    Args:
        host: Session and selection of the section Review; receives the result.
        menus: Get the entries, and wait for clicks.
        runs: Start the runs and show their progress.
        inputs: Image and run options.
    """

    def __init__(
        self,
        host: ReviewHost,
        menus: ReviewMenus,
        runs: RunSection,
        inputs: InputSection,
    ):
        self._host, self._menus = host, menus
        self._runs, self._inputs = runs, inputs
        menus.addShapes(
            ("grow", _("Add a missed vertebra: click into its body"), self.waitForClick),
            ("again", _("Re-segment the selected vertebra"), self.resegment),
        )
        menus.addNames(("evidence", _("Level evidence from the networks"), self.addEvidence))

    def waitForClick(self) -> None:
        """Wait for a click into the body of a missed vertebra, and segment it."""
        text = _("Click into the body of the vertebra that was missed.")
        self._menus.waitForClicks(1, text, lambda places: self.grow(places[0]))

    def grow(self, placeRas: tuple[float, float, float]) -> bool:
        """Segment a missed vertebra around a position in the segmentation's own RAS."""
        return self._run(VertebraRequest(placeRas=placeRas, keep=self._approved()))

    def resegment(self) -> bool:
        """Segment the current vertebra again with the fine network."""
        current = self._host.currentId()
        if current in self._approved():
            self._host.say(_("The vertebra is approved; withdraw the approval first."))
            return False
        return self._run(VertebraRequest(segmentId=current, keep=self._approved()))

    def addEvidence(self) -> bool:
        """Run the networks over the input volume, and add their level probabilities."""
        session, inputs = self._host.session, self._inputs
        volume, options = inputs.volumeNode(), inputs.options()

        def finished(run: EvidenceRun) -> str:
            self._host.follow(session, session.apply(run.action))
            return _("Added level probabilities. Uncertain levels are flagged.")

        return self._runs.start(
            lambda folder: EvidenceRun(volume, session.node, folder, options),
            _("The level probabilities could not be computed."),
            finished,
        )

    def _approved(self) -> tuple[str, ...]:
        return tuple(self._host.session.spine.approved())

    def _run(self, request: VertebraRequest) -> bool:
        session, inputs = self._host.session, self._inputs
        volume, options = inputs.volumeNode(), inputs.options()

        def finished(run: VertebraRun) -> str:
            action = setMask(session.spine, run.patch, request.segmentId)
            changed = session.apply(action)
            self._host.follow(session, changed)
            text = _("Found {volume:.1f} mL. Check its outline and its level.")
            return text.format(volume=run.patch.result.volume_ml)

        return self._runs.start(
            lambda folder: VertebraRun(volume, session.node, request, folder, options),
            _("The vertebra could not be segmented."),
            finished,
        )
