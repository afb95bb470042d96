"""Levels that a person is sure of, and the names that follow from them. No Qt, no inference."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from slicer.i18n import tr as _

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.anatomy.numbering_rules import missing_between
from spinemamba.common.errors import UserError
from spinemamba.protocol import flags
from spinemamba.protocol.result import InstanceResult, Result
from SpineMambaSegmentLib.Review.SegmentState import (
    BY_HAND,
    NAMED_TAG,
    NEEDS_LOOK,
    NOT_STARTED,
    STATUS_TAG,
    STATUS_TEXT,
)
from SpineMambaSegmentLib.Review.Spine import PINS_ATTRIBUTE, Edit, Spine
from SpineMambaSegmentLib.Scene import Provenance
from SpineMambaSegmentLib.Scene.LazyImport import tool

INSTANCE_TAG = "SpineMamba.Instance"


@dataclass(frozen=True)
class PinLevel:
    """Be sure of the level of one vertebra, and solve the names of all others again.

    What the networks said of every vertebra is in the result of the run; a vertebra that a person
    has added tells by its place alone. Approved vertebrae count as pins.

    Attributes:
        segmentId: The vertebra; empty to solve the names again and pin nothing.
        level: Its level; empty to take the pin back.
    """

    segmentId: str
    level: str

    @property
    def title(self) -> str:
        """What it is."""
        if not self.segmentId:
            return _("Solve the names again")
        return f"Pin {self.level}" if self.level else _("Take a pin back")

    def edit(self, spine: Spine) -> Edit:
        """Return the names that follow."""
        pins = pinsOf(spine)
        if self.segmentId:
            spine.place(self.segmentId)
            pins[self.segmentId] = self.level
        pins = {i: level for i, level in pins.items() if level and i in spine.states}
        sure = {**{i: spine.states[i].level for i in spine.approved()}, **pins}
        numbers = _numbers(spine)
        if (self.segmentId and self.segmentId not in numbers) or self.level == "Coccyx":
            raise UserError(_("The coccyx cannot be pinned."), _("Name it alone."))
        result = _resultNow(spine, numbers)
        solved = tool("editing.relabel").relabel(
            result, {numbers[i]: n for i, n in sure.items() if n and i in numbers}
        )
        found = {entry.id: entry for entry in solved.instances}
        attributes = {PINS_ATTRIBUTE: json.dumps(pins, separators=(",", ":")) if pins else ""}
        if spine.attributes[Provenance.RESULT_ATTRIBUTE]:
            text = json.dumps(solved.to_json(), separators=(",", ":"))
            attributes[Provenance.RESULT_ATTRIBUTE] = text
        levels, tags = {}, {}
        for segmentId, number in numbers.items():
            entry = found.get(number)
            levels[segmentId] = _level(spine, segmentId, entry, found)
            tags[segmentId] = _tags(spine, segmentId, entry, number)
            if not self.segmentId and spine.states[segmentId].status in (NEEDS_LOOK, NOT_STARTED):
                # No person has corrected anything.
                status = NEEDS_LOOK if entry is not None and entry.flags else NOT_STARTED
                tags[segmentId][STATUS_TAG] = STATUS_TEXT[status]
            tags[segmentId][NAMED_TAG] = BY_HAND if segmentId in pins else ""
        _refuseDisorder(spine, levels, [i for i, number in numbers.items() if number not in found])
        for segmentId in set(spine.approved()) & set(numbers):
            del levels[segmentId], tags[segmentId]
        return Edit(levels=levels, tags=tags, attributes=attributes)


def pinsOf(spine: Spine) -> dict[str, str]:
    """Return the pinned levels by segment ID."""
    return json.loads(spine.attributes[PINS_ATTRIBUTE] or "{}")


def resultOf(spine: Spine) -> Result | None:
    """Return the result of the run that the vertebrae come from; None if there is none."""
    return Provenance.resultFrom(spine.attributes[Provenance.RESULT_ATTRIBUTE])


def instanceOf(spine: Spine, segmentId: str, result: Result) -> InstanceResult | None:
    """Return what the run said of a vertebra; None of one that a person has added."""
    number = spine.states[segmentId].tag(INSTANCE_TAG)
    return next((entry for entry in result.instances if str(entry.id) == number), None)


def _numbers(spine: Spine) -> dict[str, int]:
    """Return the number of every vertebra in results; new ones get numbers that are free.

    The solver knows of no coccyx: it keeps its name, and has no number.
    """
    states = {i: state for i, state in spine.states.items() if state.level != "Coccyx"}
    tags = {i: state.tag(INSTANCE_TAG) for i, state in states.items()}
    known = {i: int(text) for i, text in tags.items() if text.isdigit()}
    free = iter(range(max(known.values(), default=0) + 1, 1000))
    return {i: known.get(i) or next(free) for i in tags}


def _resultNow(spine: Spine, numbers: Mapping[str, int]) -> Result:
    """Return the run's result with the vertebrae as they are now, from head to tail."""
    kept = resultOf(spine)
    entries = tuple(_entry(spine, i, kept, number) for i, number in numbers.items())
    return replace(kept or _nothing(), instances=entries)


def _entry(spine: Spine, segmentId: str, kept: Result | None, number: int) -> InstanceResult:
    state = spine.states[segmentId]
    if not state.mask.count():
        raise UserError(_("{name} is empty.").format(name=state.name), _("Paint it, or delete it."))
    level = state.level or "L1"
    right, anterior, superior = (float(v) for v in spine.centerRas(segmentId))
    old = None if kept is None else instanceOf(spine, segmentId, kept)
    known = old or InstanceResult(
        id=number, label=BY_NAME[level].value, name=level, posterior=1.0, alternatives=(),
        evidence=(1 / len(NETWORK_LEVELS),) * len(NETWORK_LEVELS), centroid_lps_mm=(0.0,) * 3,
        volume_ml=0.0, complete=True, cut_sides=(), flags=(), is_sacrum=level == "Sacrum",
    )  # fmt: skip
    volume_ml = state.mask.count() * spine.voxel_ml
    return replace(known, centroid_lps_mm=(-right, -anterior, superior), volume_ml=volume_ml)


def _nothing() -> Result:
    """Return a result without a run, for vertebrae that come from elsewhere."""
    return Result(
        run_id="", model_name="", model_version="", model_hash="", package_version="", device="",
        scan_backend="", modality="ct", seconds={}, shape=(0, 0, 0), spacing_mm=(1.0,) * 3,
        origin_lps_mm=(0.0,) * 3, direction_lps=(), instances=(), labelings=(), ambiguous=False,
        warnings=(),
    )  # fmt: skip


def _refuseDisorder(spine: Spine, levels: Mapping[str, str], kept: list[str]) -> None:
    """Refuse names among which one that is kept is out of order."""
    names = list(levels.values())
    for segmentId in kept:
        place = list(levels).index(segmentId)
        near = names[max(0, place - 1) : place + 2]
        if any(missing_between(a, b) is None for a, b in itertools.pairwise(near)):
            raise _noVertebra(spine, segmentId)


def _noVertebra(spine: Spine, segmentId: str) -> UserError:
    name = spine.states[segmentId].name
    return UserError(
        _("With these levels, {name} would be no vertebra.").format(name=name),
        _("Delete {name}, merge it, or set its level alone.").format(name=name),
    )


def _level(
    spine: Spine, segmentId: str, entry: InstanceResult | None, found: Mapping[int, InstanceResult]
) -> str:
    if entry is not None:
        return entry.name
    state = spine.states[segmentId]
    if state.level is None or state.level in {other.name for other in found.values()}:
        raise _noVertebra(spine, segmentId)
    return state.level


def _tags(
    spine: Spine, segmentId: str, entry: InstanceResult | None, number: int
) -> dict[str, str]:
    """Return what the table shows, and whether a look is wanted."""
    if entry is None:
        return {INSTANCE_TAG: str(number)}
    status = spine.states[segmentId].status
    wanted = NEEDS_LOOK if entry.flags else NOT_STARTED
    changes = status in (NEEDS_LOOK, NOT_STARTED) and status != wanted
    renamed = spine.states[segmentId].level != entry.name
    return {
        INSTANCE_TAG: str(number),
        "SpineMamba.Posterior": f"{entry.posterior:.3f}",
        "SpineMamba.Flags": flags.sentences(entry.flags),
        "SpineMamba.FlagNames": flags.names(entry.flags),
        **({STATUS_TAG: STATUS_TEXT[wanted]} if changes and not renamed else {}),
    }
