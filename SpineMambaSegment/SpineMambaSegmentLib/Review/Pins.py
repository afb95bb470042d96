"""Fixed levels (pins), and relabelling of the other vertebrae by the level solver."""

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
from spinemamba.protocol.result import InstanceResult, LevelsFrom, Result
from spinemamba.protocol.review import BY_HAND, INSTANCE_TAG
from SpineMambaSegmentLib.Review.SegmentState import (
    FLAGGED,
    NAMED_TAG,
    NOT_STARTED,
    STATUS_TAG,
    STATUS_TEXT,
)
from SpineMambaSegmentLib.Review.Spine import PINS_ATTRIBUTE, Edit, Spine
from SpineMambaSegmentLib.Scene import Provenance
from SpineMambaSegmentLib.Scene.LazyImport import tool


@dataclass(frozen=True)
class PinLevel:
    """Fix the level of one vertebra, and let the level solver rename all others.

    Level probabilities come from the result of the run; for vertebrae added by the user they are
    uniform. Approved vertebrae count as fixed.

    Attributes:
        segmentId: The vertebra; empty to run the solver without a new pin.
        level: Its level; empty to remove the pin.
    """

    segmentId: str
    level: str

    @property
    def title(self) -> str:
        """Title of the step."""
        if not self.segmentId:
            return _("Relabel all vertebrae")
        if not self.level:
            return _("Release a fixed level")
        return _("Fix level {level}").format(level=self.level)

    def edit(self, spine: Spine) -> Edit:
        """Return new names, tags and attributes."""
        pins = pinsOf(spine)
        if self.segmentId:
            spine.indexOf(self.segmentId)
            pins[self.segmentId] = self.level
        isNumbered = not self.segmentId or self.segmentId in numbersOf(spine)
        if not isNumbered or self.level == "Coccyx":
            raise UserError(
                _("The level of the coccyx cannot be fixed."),
                _("Set its level without Rename others."),
            )
        return solvedWith(spine, pins, keepsStatus=bool(self.segmentId))


def solvedWith(
    spine: Spine,
    pins: Mapping[str, str],
    source: LevelsFrom | None = None,
    *,
    keepsStatus: bool = True,
) -> Edit:
    """Return the names, tags and attributes with the given fixed levels.

    Args:
        spine: The vertebrae.
        pins: Fixed levels by segment ID; all others are released.
        source: The other scan from which they are; None to keep an earlier one.
        keepsStatus: Whether the status of a vertebra without corrections stays as it is.

    Raises:
        UserError: If no spine can have these levels.
    """
    pins = {i: level for i, level in pins.items() if level and i in spine.states}
    fixed = {**{i: spine.states[i].level for i in spine.approved()}, **pins}
    numbers = numbersOf(spine)
    solved = tool("editing.relabel").relabel(
        currentResult(spine, numbers),
        {numbers[i]: n for i, n in fixed.items() if n and i in numbers},
    )
    entries = {entry.id: entry for entry in solved.instances}
    attributes = {PINS_ATTRIBUTE: json.dumps(pins, separators=(",", ":")) if pins else ""}
    if spine.attributes[Provenance.RESULT_ATTRIBUTE]:
        solved = replace(solved, levels_from=source or solved.levels_from)
        text = json.dumps(solved.to_json(), separators=(",", ":"))
        attributes[Provenance.RESULT_ATTRIBUTE] = text
    levels, tags = {}, {}
    for segmentId, number in numbers.items():
        entry = entries.get(number)
        levels[segmentId] = _level(spine, segmentId, entry, entries)
        tags[segmentId] = _tags(spine, segmentId, entry, number)
        if not keepsStatus and spine.states[segmentId].status in (FLAGGED, NOT_STARTED):
            # The user has not corrected anything.
            status = FLAGGED if entry is not None and entry.flags else NOT_STARTED
            tags[segmentId][STATUS_TAG] = STATUS_TEXT[status]
        tags[segmentId][NAMED_TAG] = BY_HAND if segmentId in pins else ""
    unsolved = [i for i, number in numbers.items() if number not in entries]
    _refuseDisorder(spine, levels, unsolved)
    for segmentId in set(spine.approved()) & set(numbers):
        del levels[segmentId], tags[segmentId]
    return Edit(levels=levels, tags=tags, attributes=attributes)


def pinsOf(spine: Spine) -> dict[str, str]:
    """Return the fixed levels by segment ID."""
    return json.loads(spine.attributes[PINS_ATTRIBUTE] or "{}")


def resultOf(spine: Spine) -> Result | None:
    """Return the result of the run that made the vertebrae; None if there is none."""
    return Provenance.resultFrom(spine.attributes[Provenance.RESULT_ATTRIBUTE])


def instanceOf(spine: Spine, segmentId: str, result: Result) -> InstanceResult | None:
    """Return the run's entry of a vertebra; None for a vertebra added by the user."""
    number = spine.states[segmentId].tag(INSTANCE_TAG)
    return next((entry for entry in result.instances if str(entry.id) == number), None)


def numbersOf(spine: Spine) -> dict[str, int]:
    """Return the instance number of every vertebra; new ones get unused numbers.

    The solver has no state for the coccyx: it keeps its name and gets no number.
    """
    states = {i: state for i, state in spine.states.items() if state.level != "Coccyx"}
    tags = {i: state.tag(INSTANCE_TAG) for i, state in states.items()}
    numbers = {i: int(text) for i, text in tags.items() if text.isdigit()}
    free = iter(range(max(numbers.values(), default=0) + 1, 1000))
    return {i: numbers.get(i) or next(free) for i in tags}


def currentResult(spine: Spine, numbers: Mapping[str, int]) -> Result:
    """Return the run's result with the current vertebrae, from head to tail."""
    result = resultOf(spine)
    entries = tuple(_entry(spine, i, result, number) for i, number in numbers.items())
    return replace(result or _emptyResult(), instances=entries)


def _entry(spine: Spine, segmentId: str, result: Result | None, number: int) -> InstanceResult:
    state = spine.states[segmentId]
    if not state.mask.count():
        raise UserError(_("{name} is empty.").format(name=state.name), _("Paint it, or delete it."))
    level = state.level or "L1"
    right, anterior, superior = (float(v) for v in spine.centerRas(segmentId))
    old = None if result is None else instanceOf(spine, segmentId, result)
    entry = old or InstanceResult(
        id=number, label=BY_NAME[level].value, name=level, posterior=1.0, alternatives=(),
        level_probabilities=(1 / len(NETWORK_LEVELS),) * len(NETWORK_LEVELS),
        centroid_lps_mm=(0.0,) * 3, volume_ml=0.0, complete=True, cut_sides=(), flags=(),
        is_sacrum=level == "Sacrum",
    )  # fmt: skip
    volume_ml = state.mask.count() * spine.voxel_ml
    return replace(entry, centroid_lps_mm=(-right, -anterior, superior), volume_ml=volume_ml)


def _emptyResult() -> Result:
    """Return a result without a run, for vertebrae from another source."""
    return Result(
        run_id="", model_name="", model_version="", model_hash="", package_version="", device="",
        scan_backend="", modality="ct", seconds={}, shape=(0, 0, 0), spacing_mm=(1.0,) * 3,
        origin_lps_mm=(0.0,) * 3, direction_lps=(), instances=(), labelings=(), ambiguous=False,
        warnings=(),
    )  # fmt: skip


def _refuseDisorder(spine: Spine, levels: Mapping[str, str], unsolved: list[str]) -> None:
    """Raise a `UserError` if a vertebra that keeps its name is out of order."""
    names = list(levels.values())
    for segmentId in unsolved:
        index = list(levels).index(segmentId)
        neighbours = names[max(0, index - 1) : index + 2]
        if any(missing_between(a, b) is None for a, b in itertools.pairwise(neighbours)):
            raise _noVertebra(spine, segmentId)


def _noVertebra(spine: Spine, segmentId: str) -> UserError:
    name = spine.states[segmentId].name
    return UserError(
        _("With these levels, {name} cannot be a vertebra.").format(name=name),
        _("Delete {name}, merge it, or set its level without Rename others.").format(name=name),
    )


def _level(
    spine: Spine,
    segmentId: str,
    entry: InstanceResult | None,
    entries: Mapping[int, InstanceResult],
) -> str:
    if entry is not None:
        return entry.name
    state = spine.states[segmentId]
    if state.level is None or state.level in {other.name for other in entries.values()}:
        raise _noVertebra(spine, segmentId)
    return state.level


def _tags(
    spine: Spine, segmentId: str, entry: InstanceResult | None, number: int
) -> dict[str, str]:
    """Return the tags shown in the table, and the status that follows from the flags."""
    if entry is None:
        return {INSTANCE_TAG: str(number)}
    status = spine.states[segmentId].status
    target = FLAGGED if entry.flags else NOT_STARTED
    changes = status in (FLAGGED, NOT_STARTED) and status != target
    renamed = spine.states[segmentId].level != entry.name
    return {
        INSTANCE_TAG: str(number),
        "SpineMamba.Posterior": f"{entry.posterior:.3f}",
        "SpineMamba.Flags": flags.sentences(entry.flags),
        "SpineMamba.FlagNames": flags.names(entry.flags),
        **({STATUS_TAG: STATUS_TEXT[target]} if changes and not renamed else {}),
    }
