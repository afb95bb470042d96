"""Section of the case report about the ribs: what was seen where, and the rib view."""

from __future__ import annotations

from dataclasses import dataclass

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.imaging.rib_view import rib_view
from spinemamba.imaging.volume import Volume
from spinemamba.measure.stance import NO_SIDE
from spinemamba.protocol.measurements import Measurements
from spinemamba.protocol.result import Result
from spinemamba.protocol.rib_findings import (
    NOT_FOR_MR,
    RibFinding,
    narrow_note,
    rib_findings,
    rib_summary,
)
from spinemamba.report.html import Cell, Table
from spinemamba.report.rib_picture import rib_picture


@dataclass(frozen=True)
class RibSection:
    """What the template shows.

    Attributes:
        summary: First and last rib, and whether they fit the names; empty without a level network.
        findings: A row for each vertebra; None without a level network.
        contradictions: Level and text of each finding that does not fit the name.
        picture: Rib view as a data URI; empty if there is none.
        notes: Why there is no rib view, or what it does not show.
    """

    summary: str
    findings: Table | None
    contradictions: tuple[tuple[str, str], ...]
    picture: str
    notes: tuple[str, ...]


def rib_section(
    image: Volume | None, labels: Volume, measured: Measurements, result: Result | None
) -> RibSection | None:
    """Return the section; None if there is neither an image nor a level network.

    Args:
        image: Segmented image, or None.
        labels: Label image on the same grid.
        measured: Measurements of the labels.
        result: Result of the run that made the labels; None if it is unknown.
    """
    instances = () if result is None else result.instances
    names = [item.name for item in instances]
    found = rib_findings(names, [item.witnesses for item in instances])
    findings = {name: f for name, f in zip(names, found, strict=True) if f is not None}
    picture, notes = _picture(image, labels, measured, findings)
    if not findings and not picture and not notes:
        return None
    return RibSection(
        rib_summary(names, found),
        _table(findings),
        _contradictions(findings),
        picture,
        tuple(notes),
    )


def _picture(
    image: Volume | None,
    labels: Volume,
    measured: Measurements,
    findings: dict[str, RibFinding],
) -> tuple[str, list[str]]:
    """Return the picture, or an empty text, and notes about it."""
    if image is None:
        return "", []
    if measured.modality == "mr":
        return "", [NOT_FOR_MR]
    ribs = rib_view(image, labels)
    if ribs is None:
        return "", []
    unknown = any(NO_SIDE in item.reasons.values() for item in measured.items)
    note = narrow_note([BY_VALUE[value].name for value in ribs.narrow()])
    picture = rib_picture(ribs, findings, None if unknown else "RL")
    return picture, [note] if note else []


def _table(findings: dict[str, RibFinding]) -> Table | None:
    if not findings:
        return None
    rows = []
    for name, finding in findings.items():
        css_class = "contradicts" if finding.agrees is False else ""
        rows.append((Cell(name), Cell(finding.text, css_class)))
    return Table((Cell("level"), Cell("ribs seen by the level network")), tuple(rows))


def _contradictions(findings: dict[str, RibFinding]) -> tuple[tuple[str, str], ...]:
    return tuple((name, f.text) for name, f in findings.items() if f.agrees is False)
