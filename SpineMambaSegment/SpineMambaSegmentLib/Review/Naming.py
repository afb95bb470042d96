"""The namings between which the level solver was undecided, and the choice of one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.protocol.level_doubt import Doubt, deciders, distinct, unusual
from spinemamba.protocol.result import LabelingResult, Result
from spinemamba.protocol.review import BY_HAND
from SpineMambaSegmentLib.Review.Pins import instanceOf, pinsOf, resultOf
from SpineMambaSegmentLib.Review.SegmentState import NAMED_TAG
from SpineMambaSegmentLib.Review.Spine import Edit, Spine


@dataclass(frozen=True)
class Naming:
    """One labeling of the run, which the user can choose.

    Attributes:
        first: Its highest level.
        last: Its lowest level.
        posterior: Its probability.
        levels: Levels by segment ID; vertebrae without an entry in the run have none.
        names: Levels of all instances of the run; None is not a vertebra.
    """

    first: str
    last: str
    posterior: float
    levels: dict[str, str]
    names: tuple[str | None, ...]

    @property
    def text(self) -> str:
        """Levels and probability, such as "T9 to L4 (15 %)"."""
        text = _("{levels} ({percent:.0f} %)")
        return text.format(levels=self.range, percent=100 * self.posterior)

    @property
    def range(self) -> str:
        """First and last level and what is unusual between them, such as "T3 to L1 with T13"."""
        text = self.first
        if self.last != self.first:
            text = _("{first} to {last}").format(first=self.first, last=self.last)
        found = unusual(self.names)
        if found.additional:
            text = _("{range} with {levels}").format(range=text, levels=", ".join(found.additional))
        if found.absent:
            text = _("{range} without {levels}").format(range=text, levels=", ".join(found.absent))
        if found.pieces:
            text = _("{range}, pieces: {count}").format(range=text, count=found.pieces)
        return text


@dataclass(frozen=True)
class UseNaming:
    """Give all vertebrae the levels of a naming, as if each were named by the user."""

    naming: Naming

    @property
    def title(self) -> str:
        """Title of the step."""
        return _("Use {levels}").format(levels=self.naming.range)

    def edit(self, spine: Spine) -> Edit:
        """Return the new names.

        Raises:
            UserError: If the naming contradicts a fixed level, or vertebrae have none in it.
        """
        levels = self.naming.levels
        unnamed = [state.name for i, state in spine.states.items() if i not in levels]
        if unnamed:
            raise UserError(
                _("The run has not named {names}.").format(names=", ".join(unnamed)),
                _("Choose one vertebra and press Set level with Rename others."),
            )
        for segmentId, level in pinsOf(spine).items():
            if levels.get(segmentId, level) != level:
                raise UserError(
                    _("The level {level} is fixed.").format(level=level),
                    _("Release it in the menu Names first, or choose another naming."),
                )
        approved = set(spine.approved())
        renamed = {i: levels[i] for i, state in spine.states.items() if state.level != levels[i]}
        byHand = {i: {NAMED_TAG: BY_HAND} for i in spine.states if i not in approved}
        return Edit(levels=renamed, tags=byHand)


def isUndecided(spine: Spine) -> bool:
    """Return True if the run's levels are in doubt, and the user has not decided."""
    return doubtOf(spine) != "none"


def doubtOf(spine: Spine) -> Doubt:
    """Return the grade of doubt of the run's levels; "none" if the user has decided.

    Naming, fixing or approving any vertebra decides.
    """
    result = resultOf(spine)
    if result is None or pinsOf(spine) or spine.approved():
        return "none"
    if any(state.tag(NAMED_TAG) == BY_HAND for state in spine.states.values()):
        return "none"
    return result.doubt


def namings(spine: Spine) -> list[Naming]:
    """Return the most likely namings that differ in words; the run's is first.

    Empty if the levels are certain or decided.
    """
    result = resultOf(spine)
    if result is None or not isUndecided(spine):
        return []
    return [_naming(spine, result, labeling) for labeling in distinct(_named(result))]


def _named(result: Result) -> list[LabelingResult]:
    """Return the labelings with at least one vertebra."""
    return [labeling for labeling in result.labelings if any(labeling.names)]


def _naming(spine: Spine, result: Result, labeling: LabelingResult) -> Naming:
    known = [name for name in labeling.names if name]
    levels = dict(_levels(spine, result, labeling))
    return Naming(known[0], known[-1], labeling.posterior, levels, labeling.names)


def _levels(spine: Spine, result: Result, labeling: LabelingResult) -> Iterator[tuple[str, str]]:
    """Yield segment ID and level of each vertebra that has one in a labeling.

    A labeling also has the instances that the best one does not take for vertebrae; the result
    does not have them.
    """
    best = result.labelings[0].names
    if len(best) == len(result.instances):
        names = labeling.names
    else:
        names = tuple(n for n, b in zip(labeling.names, best, strict=True) if b is not None)
    byNumber = {e.id: name for e, name in zip(result.instances, names, strict=False)}
    for segmentId in spine.states:
        entry = instanceOf(spine, segmentId, result)
        name = None if entry is None else byNumber.get(entry.id)
        if name is not None:
            yield segmentId, name


def decidedBy(choices: list[Naming]) -> str:
    """Return what would decide between namings, in sentences; empty if that is not known."""
    if len(choices) < 2:
        return ""
    one, other = choices[:2]
    ranges = [one.range, other.range]
    sentences = []
    for decider in deciders(one.names, other.names):
        first, second = reversed(ranges) if decider.inverse else ranges
        words = dict(zip(("one", "other"), (one.names[k] for k in decider.at), strict=False))
        text = _decidingText(decider.kind)
        sentences.append(text.format(first=first, second=second, **words))
    return " ".join(sentences)


def _decidingText(kind: str) -> str:
    return {
        "last_ribs": _("Count ribs: the last are at {one} for {first}, at {other} for {second}."),
        "first_ribs": _("Count ribs: the first are at {one} for {first}, at {other} for {second}."),
        "ribs": _("Count ribs: {one} has none for {first}, and has them for {second}."),
        "piece": _("Look whether the piece next to {one} is a vertebra."),
        "show_ribs": _("An image that shows the last ribs would decide."),
        "show_sacrum": _("An image that shows the sacrum would decide."),
        "show_c2": _("An image that shows C2 would decide."),
        "show_end": _("An image that shows C2 or the sacrum would decide."),
    }[kind]
