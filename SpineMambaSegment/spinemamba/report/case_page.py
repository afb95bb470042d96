"""Report of the measurements of a case: one self-contained HTML page without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from spinemamba.findings.level_flags import LIMITS
from spinemamba.imaging.volume import Volume
from spinemamba.protocol.flags import sentences
from spinemamba.protocol.level_doubt import is_level_warning
from spinemamba.protocol.measurements import NOTICE, Item, Measurements
from spinemamba.protocol.quantities import BY_KEY, QUANTITIES
from spinemamba.protocol.result import InstanceResult, Result
from spinemamba.report.case_pictures import reformation_picture, surface_picture
from spinemamba.report.html import Table, write_html
from spinemamba.report.rib_section import rib_section

_HEADS = ("level", "certain", "volume mL", "height mm", "loss %", "grade", "HU", "canal mm")
_HEADS += ("disc below mm", "angle", "slip mm")
_DENSITY = "mg/mL"

_MANY_LEVELS = 19
"""With more levels, pictures are smaller, so that the page still fits on one sheet."""

_PERCENTAGE = re.compile(r" \([\d.,]+ %\)")


def write_page(
    measured: Measurements,
    volumes: tuple[Volume | None, Volume],
    result: Result | None,
    path: Path,
    title: str = "",
) -> None:
    """Write the page atomically.

    Args:
        measured: Measurements to show.
        volumes: Image, or None, and labels.
        result: Result of the run that made the labels; None if it is unknown.
        path: File to write, ``.html``.
        title: Heading; no name is taken from a file, because it may identify a patient.

    Raises:
        UserError: As `whole_or_nothing`.
    """
    image, labels = volumes
    ribs = rib_section(image, labels, measured, result)
    write_html(
        path,
        "case.html",
        title=title,
        compact=len(measured.of("vertebra")) > _MANY_LEVELS,
        subtitle=_subtitle(measured),
        alerts=measured.alerts,
        reformations=reformation_picture(image, labels, measured),
        surface="" if ribs is not None and ribs.picture else surface_picture(labels),
        ribs=ribs,
        angles=_angles(measured),
        missing_angles=[
            item.name for item in measured.of("angle") if item.values["angle_deg"] is None
        ],
        findings=_grouped(_findings(measured, result)),
        levels=_levels(measured, result),
        provenance=_provenance(measured, result),
    )


def _subtitle(measured: Measurements) -> str:
    levels = [item.name for item in measured.of("vertebra")]
    spacing = " x ".join(f"{s:.2g}" for s in measured.spacing_mm[::-1])
    source = f"{measured.modality.upper()}" if measured.modality else "Labels without image"
    return f"{levels[0]} to {levels[-1]}, {len(levels)} levels. {source}, voxels {spacing} mm."


def _levels(measured: Measurements, result: Result | None) -> Table:
    instances = {} if result is None else {item.name: item for item in result.instances}
    discs = {item.name.split("-")[0]: item for item in measured.of("disc")}
    vertebrae = measured.of("vertebra")
    calibrated = any(item.values.get("trabecular_mg_ml") is not None for item in vertebrae)
    rows = [
        _row(item, instances.get(item.name), discs.get(item.name), calibrated=calibrated)
        for item in vertebrae
    ]
    heads = list(_HEADS)
    if calibrated:
        heads.insert(heads.index("HU") + 1, _DENSITY)
    return Table.of(heads, rows)


def _row(
    item: Item, instance: InstanceResult | None, disc: Item | None, *, calibrated: bool
) -> list[str]:
    loss = _text(item, "height_loss_percent")
    if "deformity" in item.words:
        loss = f"{loss} {item.words['deformity']}"
    return [
        item.name,
        "-" if instance is None else f"{100 * instance.posterior:.0f} %",
        _text(item, "volume_ml"),
        _joined(item, ("anterior_height_mm", "middle_height_mm", "posterior_height_mm"), " / "),
        loss,
        _grade(item),
        _text(item, "trabecular_hu"),
        *([_text(item, "trabecular_mg_ml")] if calibrated else []),
        _joined(item, ("canal_depth_mm", "canal_width_mm"), " x "),
        _joined(disc, ("anterior_disc_mm", "middle_disc_mm", "posterior_disc_mm"), " / "),
        _text(disc, "disc_angle_deg"),
        _text(disc, "slip_mm"),
    ]


def _grade(item: Item) -> str:
    """Return the suggested grade, or the range of grades within its uncertainty."""
    grade, width = item.values.get("genant_grade"), item.uncertainties.get("genant_grade", 0.0)
    if grade is None:
        return "-"
    low, high = max(0, int(grade - width)), min(3, int(grade + width))
    return f"{int(grade)}" if low == high else f"{int(grade)} ({low} to {high})"


def _text(item: Item | None, key: str) -> str:
    return "-" if item is None else item.text_pm(key, BY_KEY[key].digits)


def _joined(item: Item | None, keys: tuple[str, ...], separator: str) -> str:
    return "-" if item is None else item.joined_pm(keys, BY_KEY[keys[0]].digits, separator)


def _angles(measured: Measurements) -> Table | None:
    rows = [
        [item.name, item.text_pm("angle_deg", 1), item.words["what"], item.words["between"]]
        for item in measured.of("angle")
        if item.values["angle_deg"] is not None
    ]
    rows += [
        [
            item.name,
            item.text_pm("cobb_deg", 1),
            f"{item.words['what']}, apex {item.words['apex']}",
            f"{item.words['between']} ({item.view})",
        ]
        for item in measured.of("curve")
    ]
    return Table.of(("angle", "degrees", "finding", "between"), rows) if rows else None


def _findings(measured: Measurements, result: Result | None) -> Iterator[tuple[str, str]]:
    """Yield what a reader should check: a level, or "" for the whole spine, and a sentence."""
    for warning in () if result is None else result.warnings:
        if warning not in measured.alerts and not is_level_warning(warning):
            yield "", warning
    for item in () if result is None else result.instances:
        if item.flags:
            yield item.name, sentences(item.flags)
        elif item.posterior < LIMITS.level_uncertain:
            yield item.name, "Level uncertain."
    for item in measured.of("vertebra"):
        if item.values.get("genant_grade"):
            loss, grade = _text(item, "height_loss_percent"), _text(item, "genant_grade")
            deformity = item.words["deformity"]
            yield item.name, f"Height loss {loss} % ({deformity}), suggested grade {grade}."
        if result is None and "cut" in item.words:
            yield item.name, f"Cut by the image ({item.words['cut']})."
    # The first note repeats the mark at the top of the page.
    for note in measured.notes[1:] if measured.notes[:1] == (NOTICE,) else measured.notes:
        yield "", note


def _grouped(findings: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return one line for each problem: levels with the same problem share it.

    Percentages of a problem differ from level to level; a shared line has their range of levels
    only, because the table has the numbers.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for level, text in findings:
        groups.setdefault(_PERCENTAGE.sub("", text), []).append((level, text))
    out = []
    for shared, members in groups.items():
        levels = ", ".join(dict.fromkeys(level for level, _ in members if level))
        out.append((levels, members[0][1] if len(members) == 1 else shared))
    return out


def _provenance(measured: Measurements, result: Result | None) -> str:
    text = f"Measured by SpineMamba Segment {measured.package_version}; "
    text += f"{len(QUANTITIES)} quantities; labels SHA-256 {measured.labels_sha256[:16]}."
    if result is None:
        return text + " The run that made the labels is unknown."
    model = f"{result.model_name} {result.model_version} ({result.model_hash[:16]})"
    package = f"package {result.package_version}, {result.modality.upper()}"
    return f"{text} Labels by model {model}, run {result.run_id}, {package}."
