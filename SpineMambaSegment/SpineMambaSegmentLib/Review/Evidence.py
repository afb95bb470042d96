"""What the networks saw: level probabilities for vertebrae that were taken over, and ribs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from spinemamba.protocol import flags
from spinemamba.protocol.result import InstanceResult, Result
from spinemamba.protocol.rib_findings import RibFinding, rib_findings, rib_summary
from SpineMambaSegmentLib.Review.Pins import (
    INSTANCE_TAG,
    currentResult,
    instanceOf,
    numbersOf,
    pinsOf,
    resultOf,
)
from SpineMambaSegmentLib.Review.SegmentState import (
    FLAGGED,
    NOT_STARTED,
    STATUS_TAG,
    STATUS_TEXT,
    SegmentState,
)
from SpineMambaSegmentLib.Review.Spine import Edit, Spine
from SpineMambaSegmentLib.Scene import Provenance
from SpineMambaSegmentLib.Scene.LabelArray import onGrid
from SpineMambaSegmentLib.Scene.LazyImport import tool

_DOUBTS = ("level_uncertain", "level_likely")


@dataclass(frozen=True)
class AddEvidence:
    """Add level probabilities of a run to the vertebrae under review; no vertebra is renamed.

    A vertebra gets those of the run's vertebra that covers most of its voxels. It is flagged if
    its present level is uncertain by all of them.

    Attributes:
        labels: Label values of the run, in the volume's own RAS.
        result: Result of the run.
    """

    labels: slicer.vtkOrientedImageData
    result: Result

    title = _("Level evidence from the networks")

    def edit(self, spine: Spine) -> Edit:
        """Return the result with level probabilities, and tags with posteriors and flags."""
        numbers = numbersOf(spine)
        current = currentResult(spine, numbers)
        found = {number: self._match(spine, i) for i, number in numbers.items()}
        if not any(found.values()):
            raise UserError(
                _("The networks found none of these vertebrae in the volume."),
                _("Choose the image of these vertebrae as the input volume."),
            )
        instances = tuple(_with(entry, found[entry.id]) for entry in current.instances)
        new = replace(
            self.result,
            instances=instances,
            labelings=current.labelings,
            ambiguous=False,
            level_doubt="none",
            deciding=(),
            fixed_levels=(),
            left_out=(),  # its numbers are those of the run, not of these vertebrae
        )
        certainties = _certainties(spine, numbers, new)
        tags = {
            i: _tags(spine.states[i], number, instances[k], certainties[i])
            for k, (i, number) in enumerate(numbers.items())
        }
        text = json.dumps(new.to_json(), separators=(",", ":"))
        return Edit(tags=tags, attributes={Provenance.RESULT_ATTRIBUTE: text})

    def _match(self, spine: Spine, segmentId: str) -> InstanceResult | None:
        """Return the run's vertebra that covers most of a segment; None below one half."""
        mask = spine.states[segmentId].mask
        k, j, i = mask.box
        extent = (i.start, i.stop - 1, j.start, j.stop - 1, k.start, k.stop - 1)
        values = onGrid(self.labels, spine.grid.cut(extent))[mask.array()]
        counts = np.bincount(values, minlength=1)
        counts[0] = 0
        value = int(counts.argmax())
        if 2 * counts[value] < len(values):
            return None
        return next((item for item in self.result.instances if item.label == value), None)


def _with(entry: InstanceResult, found: InstanceResult | None) -> InstanceResult:
    if found is None:
        return entry
    return replace(
        entry,
        level_probabilities=found.level_probabilities,
        is_sacrum=found.is_sacrum,
        no_vertebra=found.no_vertebra,
        witnesses=found.witnesses,
    )


def _certainties(
    spine: Spine, numbers: Mapping[str, int], result: Result
) -> dict[str, tuple[float, float]]:
    """Return the probabilities of the level of each vertebra and of its likeliest alternative."""
    fixed = {**{i: spine.states[i].level for i in spine.approved()}, **pinsOf(spine)}
    pins = {numbers[i]: level for i, level in fixed.items() if level and i in numbers}
    solved = tool("editing.relabel").relabel(result, pins)
    entries = {entry.id: entry for entry in solved.instances}
    levels = {number: spine.states[i].level for i, number in numbers.items()}
    chances = {
        number: {entry.name: entry.posterior, **dict(entry.alternatives)}
        for number, entry in entries.items()
    }
    return {i: _certainty(chances.get(n, {}), levels[n]) for i, n in numbers.items()}


def _certainty(chances: Mapping[str, float], level: str | None) -> tuple[float, float]:
    others = [p for name, p in chances.items() if name != level]
    return chances.get(level or "", 0.0), max(others, default=0.0)


def _tags(
    state: SegmentState, number: int, entry: InstanceResult, certainty: tuple[float, float]
) -> dict[str, str]:
    doubt = tool("findings.level_flags").doubt_flag(*certainty)
    kept = [flag for flag in entry.flags if flag.name not in _DOUBTS]
    kept += [] if doubt is None else [doubt]
    tags = {
        INSTANCE_TAG: str(number),
        "SpineMamba.Posterior": f"{certainty[0]:.3f}",
        "SpineMamba.Flags": flags.sentences(kept),
        "SpineMamba.FlagNames": flags.names(kept),
    }
    if kept and state.status == NOT_STARTED:
        tags[STATUS_TAG] = STATUS_TEXT[FLAGGED]
    return tags


@dataclass(frozen=True)
class Ribs:
    """What was seen of the ribs.

    Attributes:
        findings: By segment ID; without vertebrae that the level network did not see.
        summary: First and last rib in one sentence; empty without a level network.
        modality: "ct" or "mr", or "auto" if no run is known.
        levels: Present levels by segment ID; without vertebrae that have none.
    """

    findings: dict[str, RibFinding] = field(default_factory=dict)
    summary: str = ""
    modality: str = "auto"
    levels: dict[str, str] = field(default_factory=dict)


def ribsOf(spine: Spine) -> Ribs:
    """Return what the run of a spine saw of the ribs."""
    result = resultOf(spine)
    levels = {i: state.level for i, state in spine.states.items() if state.level}
    if result is None:
        return Ribs(levels=levels)
    entries = [instanceOf(spine, segmentId, result) for segmentId in spine.states]
    witnesses = [None if entry is None else entry.witnesses for entry in entries]
    found = rib_findings(spine.chain, witnesses)
    pairs = zip(spine.states, found, strict=True)
    findings = {i: finding for i, finding in pairs if finding is not None}
    return Ribs(findings, rib_summary(spine.chain, found), result.modality, levels)
