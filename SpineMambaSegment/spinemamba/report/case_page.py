"""Report of the measurements of a case: one self-contained HTML page without scripts."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files
from pathlib import Path

from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.imaging.volume import Volume
from spinemamba.protocol.flags import sentences
from spinemamba.protocol.measurements import Item, Measurements
from spinemamba.protocol.quantities import BY_KEY, QUANTITIES
from spinemamba.protocol.result import InstanceResult, Result
from spinemamba.report.case_pictures import strip_picture, surface_picture
from spinemamba.report.html import table
from spinemamba.report.run_picture import SURE

HEADS = ("level", "certain", "volume mL", "front mm", "middle mm", "back mm", "loss %", "grade")
HEADS += ("HU", "canal mm", "disc below mm", "angle", "slip mm")
NOTES = (
    "Heights at 15, 50 and 85 % of the body's depth. Loss: the largest of front and middle against "
    "back, and back against the neighbours. Grade: Genant, suggested, for review. Canal: depth x "
    "width. Disc: front, middle, back. Slip: positive if the upper body lies forward. Angles: "
    "positive is lordosis. A dash is a missing value; the .csv file gives the reason. "
    "Side and front view are curved planar reformations: distances across the spine are correct, "
    "along a bend they are not."
)


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
    style = files("spinemamba.report").joinpath("case_page.css").read_text(encoding="utf-8")
    body = "\n".join(_sections(measured, volumes, result, title))
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n<title>Spine report</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    with whole_or_nothing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _sections(
    measured: Measurements,
    volumes: tuple[Volume | None, Volume],
    result: Result | None,
    title: str,
) -> Iterable[str]:
    image, labels = volumes
    levels = [item.name for item in measured.of("vertebra")]
    heading = escape(title) or "Spine report"
    yield (
        f"<header><div><h1>{heading}</h1><p>{levels[0]} to {levels[-1]}, {len(levels)} levels. "
        f"{_source(measured)}</p></div><strong>Not for clinical use</strong></header>"
    )
    if measured.alerts:
        lines = "".join(f"<p>{escape(text)}</p>" for text in measured.alerts)
        yield f'<section class="alert">{lines}</section>'
    strip, solid = strip_picture(image, labels, measured), surface_picture(labels)
    yield (
        f'<div class="top"><div class="pictures"><img class="strip" src="{strip}" '
        f'alt="Spine from the side and from the front"><img src="{solid}" '
        'alt="Surface from the left and in front"></div>'
        f'<div class="findings">{_angles(measured)}{_look_at(measured, result)}</div></div>'
    )
    yield '<section class="levels">' + _levels(measured, result) + "</section>"
    yield f"<footer><p>{escape(NOTES)}</p><p>{escape(_provenance(measured, result))}</p>"
    yield '<p class="sign"><span>Reviewed by</span><span>Date</span></p></footer>'


def _source(measured: Measurements) -> str:
    spacing = " x ".join(f"{s:.2g}" for s in measured.spacing_mm[::-1])
    kind = f"{measured.modality.upper()}, " if measured.modality else "Labels without image, "
    return f"{kind}voxels {spacing} mm."


def _levels(measured: Measurements, result: Result | None) -> str:
    instances = {} if result is None else {item.name: item for item in result.instances}
    discs = {item.name.split("-")[0]: item for item in measured.of("disc")}
    rows = [
        _row(item, instances.get(item.name), discs.get(item.name))
        for item in measured.of("vertebra")
    ]
    return table(HEADS, rows)


def _row(item: Item, instance: InstanceResult | None, disc: Item | None) -> list[str]:
    keys = ("volume_ml", "anterior_height_mm", "middle_height_mm", "posterior_height_mm")
    loss = _text(item, "height_loss_percent")
    if "deformity" in item.words:
        loss = f"{loss} {item.words['deformity']}"
    return [
        item.name,
        "-" if instance is None else f"{100 * instance.posterior:.0f} %",
        *(_text(item, key) for key in keys),
        loss,
        _text(item, "genant_grade"),
        _text(item, "trabecular_hu"),
        _joined(item, ("canal_depth_mm", "canal_width_mm"), " x "),
        _joined(disc, ("anterior_disc_mm", "middle_disc_mm", "posterior_disc_mm"), " / "),
        _text(disc, "disc_angle_deg"),
        _text(disc, "slip_mm"),
    ]


def _text(item: Item | None, key: str) -> str:
    return "-" if item is None else item.text(key, BY_KEY[key].digits)


def _joined(item: Item | None, keys: tuple[str, ...], separator: str) -> str:
    texts = [_text(item, key) for key in keys]
    return "-" if set(texts) == {"-"} else separator.join(texts)


def _angles(measured: Measurements) -> str:
    given = [item for item in measured.of("angle") if item.values["angle_deg"] is not None]
    rows = [
        [item.name, f"{item.values['angle_deg']:.1f}", item.words["what"], item.words["between"]]
        for item in given
    ]
    rows += [
        [
            item.name,
            f"{item.values['cobb_deg']:.1f}",
            f"{item.words['what']}, apex {item.words['apex']}",
            f"{item.words['between']} ({item.view})",
        ]
        for item in measured.of("curve")
    ]
    missing = [item.name for item in measured.of("angle") if item not in given]
    out = "<h2>Angles and curves</h2>"
    if rows:
        out += table(("angle", "degrees", "finding", "between"), rows)
    if missing:
        out += f"<p>Missing, because a level or an endplate is missing: {', '.join(missing)}.</p>"
    return out


def _look_at(measured: Measurements, result: Result | None) -> str:
    warnings = () if result is None else result.warnings
    lines = [escape(text) for text in warnings if text not in measured.alerts]
    for item in () if result is None else result.instances:
        if item.flags:
            lines.append(f"<b>{escape(item.name)}</b> {escape(sentences(item.flags))}")
        elif item.posterior < SURE:
            lines.append(f"<b>{escape(item.name)}</b> Level uncertain.")
    for item in measured.of("vertebra"):
        if item.values.get("genant_grade"):
            loss, grade = _text(item, "height_loss_percent"), _text(item, "genant_grade")
            words = f"Height loss {loss} % ({item.words['deformity']}), suggested grade {grade}."
            lines.append(f"<b>{escape(item.name)}</b> {words}")
        if result is None and "cut" in item.words:
            lines.append(f"<b>{escape(item.name)}</b> Cut by the image ({item.words['cut']}).")
    lines += [escape(note) for note in measured.notes]
    return "<h2>Look at</h2><ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def _provenance(measured: Measurements, result: Result | None) -> str:
    text = f"Measured by SpineMamba Segment {measured.package_version}; "
    text += f"{len(QUANTITIES)} quantities; labels SHA-256 {measured.labels_sha256[:16]}."
    if result is None:
        return text + " The run that made the labels is unknown."
    model = f"{result.model_name} {result.model_version} ({result.model_hash[:16]})"
    package = f"package {result.package_version}, {result.modality.upper()}"
    return f"{text} Labels by model {model}, run {result.run_id}, {package}."
