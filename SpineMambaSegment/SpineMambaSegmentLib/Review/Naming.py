"""The namings between which the level solver was undecided, and the choice of one of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.protocol.result import LabelingResult, Result
from SpineMambaSegmentLib.Review.Pins import instanceOf, pinsOf, resultOf
from SpineMambaSegmentLib.Review.SegmentState import BY_HAND, NAMED_TAG
from SpineMambaSegmentLib.Review.Spine import Edit, Spine

MAX_NAMINGS = 3
_ANCHORS = {"C1", "C2", "Sacrum"}
"""Levels whose shape alone names the others."""


@dataclass(frozen=True)
class Naming:
    """One labeling of the run, which the user can choose.

    Attributes:
        first: Its highest level.
        last: Its lowest level.
        posterior: Its probability.
        levels: Levels by segment ID; vertebrae without an entry in the run have none.
    """

    first: str
    last: str
    posterior: float
    levels: dict[str, str]

    @property
    def text(self) -> str:
        """Levels and probability, such as "T9 to L4 (15 %)"."""
        text = _("{first} to {last} ({percent:.0f} %)")
        return text.format(first=self.first, last=self.last, percent=100 * self.posterior)


@dataclass(frozen=True)
class UseNaming:
    """Give all vertebrae the levels of a naming, as if each were named by the user."""

    naming: Naming

    @property
    def title(self) -> str:
        """Title of the step."""
        return _("Use {first} to {last}").format(first=self.naming.first, last=self.naming.last)

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
    """Return True if the run's levels are ambiguous, and the user has not decided.

    Naming, fixing or approving any vertebra decides.
    """
    result = resultOf(spine)
    if result is None or not result.ambiguous or pinsOf(spine) or spine.approved():
        return False
    return not any(state.tag(NAMED_TAG) == BY_HAND for state in spine.states.values())


def namings(spine: Spine) -> list[Naming]:
    """Return the most likely namings that differ in the first or last level; the run's is first.

    Empty if the levels are certain or decided.
    """
    result = resultOf(spine)
    if result is None or not isUndecided(spine):
        return []
    ends: dict[tuple[str, str], Naming] = {}
    for labeling in result.labelings:
        names = [name for name in labeling.names if name]
        if names:
            levels = dict(_levels(spine, result, labeling))
            naming = Naming(names[0], names[-1], labeling.posterior, levels)
            ends.setdefault((naming.first, naming.last), naming)
    return list(ends.values())[:MAX_NAMINGS]


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


def decidedBy(spine: Spine, choices: list[Naming]) -> str:
    """Return what would decide between namings, in sentences; empty if that is not known."""
    if len(choices) < 2:
        return ""
    sentences = []
    for find, text in (
        (_lastRibs, _("Look for the last ribs: at {one} for {first}, at {other} for {second}.")),
        (_firstRibs, _("Look for the first ribs: at {one} for {first}, at {other} for {second}.")),
    ):
        ids = [find(spine, naming) for naming in choices[:2]]
        if None not in ids and ids[0] != ids[1]:
            one, other = (spine.states[segmentId].name for segmentId in ids)
            first, second = (_range(naming) for naming in choices[:2])
            sentences.append(text.format(one=one, first=first, other=other, second=second))
    if not _ANCHORS & {state.level for state in spine.states.values()}:
        sentences.append(_("An image that shows C2 or the sacrum would decide, too."))
    return " ".join(sentences)


def _range(naming: Naming) -> str:
    return _("{first} to {last}").format(first=naming.first, last=naming.last)


def _lastRibs(spine: Spine, naming: Naming) -> str | None:
    """Return the segment ID of the last thoracic vertebra; None if it is not in the image."""
    pair = _border(spine, naming, "T", "L")
    return None if pair is None else pair[0]


def _firstRibs(spine: Spine, naming: Naming) -> str | None:
    """Return the segment ID of T1; None if it is not in the image, or no cervical vertebra is."""
    pair = _border(spine, naming, "C", "T")
    return None if pair is None else pair[1]


def _border(spine: Spine, naming: Naming, above: str, below: str) -> tuple[str, str] | None:
    """Return the segment IDs on both sides of the border between two regions."""
    ids = [i for i in spine.ids if i in naming.levels]
    for upper, lower in itertools.pairwise(ids):
        if naming.levels[upper].startswith(above) and naming.levels[lower].startswith(below):
            return upper, lower
    return None
