"""Report of an evaluation: one self-contained HTML page without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from spinemamba import __version__
from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.evaluation.cohort import Outcome, Summary
from spinemamba.evaluation.files import state
from spinemamba.evaluation.measures import MEASURES
from spinemamba.evaluation.scores import Comparison, VertebraScore, mean
from spinemamba.report.evaluation_plots import level_plot, name_plot
from spinemamba.report.html import table

BY_KEY = {measure.key: measure for measure in MEASURES}
CASE_KEYS = ("bone_dice", "dice_matched", "dice_named", "hd95_matched_mm", "localisation_mm")
CASE_KEYS += ("f1", "pq")


RULES = (
    "A predicted vertebra without a match above or below the labelled part of the spine counts "
    "only in the scores by name; it is listed as beyond.",
    "Any other predicted vertebra without a match is extra: a false positive.",
    "A missed vertebra has Dice 0 and no distance; read distances with the number of missed ones.",
    "All levels right: each vertebra of the reference has its correct name, and there are no "
    "missed and no extra vertebrae.",
    "Means are over the cases; F1 and PQ at the top are of the vertebrae of all cases together.",
    "Of truncated vertebrae, only the labelled part counts.",
    "Matching is one to one and maximises the sum of IoU; matches have an IoU of at least 0.1.",
)


def write_page(outcomes: Sequence[Outcome], summary: Summary, path: Path) -> None:
    """Write the page atomically.

    Raises:
        UserError: As `whole_or_nothing`.
    """
    style = files("spinemamba.report").joinpath("evaluation_page.css").read_text(encoding="utf-8")
    body = "\n".join(_sections(outcomes, summary))
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n<title>Evaluation</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    with whole_or_nothing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _sections(outcomes: Sequence[Outcome], summary: Summary) -> Iterable[str]:
    cases = f"{len(summary.scores)} case{_s(len(summary.scores))}"
    yield (
        f"<header><h1>Segmentation against reference</h1><p>{cases}, {summary.vertebrae} "
        f"vertebrae in the reference. SpineMamba Segment {escape(__version__)}.</p></header>"
    )
    failed = [(o.case.name, o.error) for o in outcomes if o.score is None]
    if failed:
        yield f'<section class="alert"><h2>Not compared: {len(failed)}</h2>'
        yield table(("case", "why"), failed) + "</section>"
    if summary.scores:
        yield _tiles(summary)
    if summary.vertebrae:
        yield "<section><h2>By level</h2><p>Each point is a vertebra: blue if its level is right, "
        yield 'red if it is wrong or missed; numbers below are counts.</p><div class="wide">'
        yield level_plot(summary.levels) + "</div>"
        # A single case has the same numbers in its own table.
        yield (_levels(summary) if len(summary.scores) > 1 else "") + "</section>"
    yield from _lists(outcomes, summary)
    yield _meanings()


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _tiles(summary: Summary) -> str:
    spreads = summary.measures
    right, counted = summary.all_right
    low, high = summary.all_right_interval
    interval = "" if counted < 2 else f"95 % interval {100 * low:.0f} to {100 * high:.0f} %"
    named, identified = summary.total("named_right"), summary.total("identified")
    missed, extra = summary.total("missed"), sum(len(score.extra) for score in summary.scores)

    def average(key: str) -> str:
        text = BY_KEY[key].text(spreads[key].mean)
        return f"{text} mm" if BY_KEY[key].unit and text != "-" else text

    tiles = (
        ("Dice per vertebra", average("dice_matched"), f"by name {average('dice_named')}"),
        ("Bone Dice", average("bone_dice"), f"HD95 {average('bone_hd95_mm')}"),
        ("HD95 per vertebra", average("hd95_matched_mm"), f"ASSD {average('assd_matched_mm')}"),
        (
            "Identification rate",
            average("identification_rate"),
            f"VerSe: {identified} of {summary.vertebrae}",
        ),
        ("Localisation", average("localisation_mm"), "centroids, by name"),
        ("Named right", f"{named} of {summary.vertebrae}", f"{missed} missed, {extra} extra"),
        ("All levels right", f"{right} of {counted} case{_s(counted)}", interval),
        ("Instance F1", BY_KEY["f1"].text(summary.f1), f"PQ {BY_KEY['pq'].text(summary.pq)}"),
    )
    boxes = "".join(
        f"<div><span>{escape(title)}</span><strong>{escape(value)}</strong>"
        f"<small>{escape(note)}</small></div>"
        for title, value, note in tiles
    )
    return f'<section class="tiles">{boxes}</section>'


def _levels(summary: Summary) -> str:
    heads = ("level", "vertebrae", "found", "named right", "identified", "Dice, matched")
    heads += ("Dice, by name", "HD95, matched (mm)", "ASSD, matched (mm)", "localisation (mm)")
    rows = []
    for level in summary.levels:
        vertebrae = level.vertebrae
        counts = (
            len(vertebrae),
            sum(v.found_as is not None for v in vertebrae),
            sum(v.found_as == v.name for v in vertebrae),
            sum(v.identified for v in vertebrae),
        )
        rows.append([level.name, *map(str, counts), *_numbers(vertebrae)])
    return table(heads, rows)


def _numbers(vertebrae: Sequence[VertebraScore]) -> list[str]:
    dice, mm = BY_KEY["dice_matched"], BY_KEY["hd95_matched_mm"]
    return [
        dice.text(mean(v.dice for v in vertebrae)),
        dice.text(mean(v.named_dice for v in vertebrae)),
        mm.text(mean(v.surface.hd95_mm for v in vertebrae)),
        mm.text(mean(v.surface.assd_mm for v in vertebrae)),
        mm.text(mean(v.centre_mm for v in vertebrae)),
    ]


def _lists(outcomes: Sequence[Outcome], summary: Summary) -> Iterable[str]:
    if summary.confusions:
        yield "<section><h2>Names</h2><p>How often each level of the reference (row) was found "
        yield 'as which level (column).</p><div class="wide">'
        yield name_plot(summary.levels) + "</div></section>"
    compared = [(o.case.name, o.score) for o in outcomes if o.score is not None]
    if len(compared) > 1:
        yield "<section><h2>Over the cases</h2>" + _spreads(summary) + "</section>"
        yield "<section><h2>Cases</h2>" + _cases(compared) + "</section>"
    opened = " open" if len(compared) == 1 else ""
    for name, score in compared:
        note = f"<p>{escape(score.note)}</p>" if score.note else ""
        inside = note + (_vertebrae(score) if score.vertebrae or score.found else "")
        yield f"<details{opened}><summary>{escape(name)}</summary>{inside}</details>"


def _spreads(summary: Summary) -> str:
    heads = ("measure", "mean", "sd", "median", "least", "most", "cases")
    rows = []
    for measure in MEASURES:
        s = summary.measures[measure.key]
        numbers = (s.mean, s.sd, s.median, s.least, s.most)
        rows.append([measure.head, *map(measure.text, numbers), str(s.count)])
    return table(heads, rows)


def _cases(compared: list[tuple[str, Comparison]]) -> str:
    heads = ("case", "named right", *(BY_KEY[key].head for key in CASE_KEYS), "extra", "beyond")
    rows = [
        [
            name,
            f"{score.named_right} of {len(score.vertebrae)}",
            *(BY_KEY[key].text(BY_KEY[key].of(score)) for key in CASE_KEYS),
            " ".join(score.extra),
            " ".join(score.beyond),
        ]
        for name, score in compared
    ]
    return table(heads, rows)


def _vertebrae(score: Comparison) -> str:
    heads = ("level", "state", "found as", "in view", "Dice, matched", "Dice, by name")
    heads += ("HD95, matched (mm)", "ASSD, matched (mm)", "localisation (mm)")
    rows = [
        [v.name, state(v), v.found_as or "", "cut" if v.cut else "whole", *_numbers([v])]
        for v in score.vertebrae
    ]
    for kind, names in (("extra", score.extra), ("beyond", score.beyond)):
        rows += [["", kind, name, *[""] * 6] for name in names]
    return table(heads, rows)


def _meanings() -> str:
    terms = "".join(f"<dt>{escape(m.head)}</dt><dd>{escape(m.meaning)}</dd>" for m in MEASURES)
    rules = "".join(f"<li>{escape(rule)}</li>" for rule in RULES)
    return (
        f"<section><h2>What the numbers mean</h2><dl>{terms}</dl><ul>{rules}</ul>"
        "<p>Not for clinical use.</p></section>"
    )
