"""The ribs that the level network saw, beside the present names of the vertebrae."""

from __future__ import annotations

from dataclasses import dataclass, field

from spinemamba.protocol.rib_findings import RibFinding, rib_findings, rib_summary
from SpineMambaSegmentLib.Review.Pins import instanceOf, resultOf
from SpineMambaSegmentLib.Review.Spine import Spine


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
