"""Report of an evaluation: one self-contained HTML page without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from spinemamba import __version__
from spinemamba.evaluation.cohort import Outcome, Summary
from spinemamba.evaluation.files import state
from spinemamba.evaluation.measures import MEASURES
from spinemamba.evaluation.scores import Comparison, VertebraScore, mean
from spinemamba.report.evaluation_plots import confusion_plot, level_plot
from spinemamba.report.html import Table, write_html

_BY_KEY = {measure.key: measure for measure in MEASURES}
_CASE_KEYS = ("bone_dice", "dice_matched", "dice_named", "hd95_matched_mm", "localisation_mm")
_CASE_KEYS += ("f1", "pq")


@dataclass(frozen=True)
class _Tile:
    """A score at the top of the page."""

    head: str
    value: str
    note: str


@dataclass(frozen=True)
class _CaseDetails:
    """A compared case, with one row per vertebra."""

    name: str
    note: str
    vertebrae: Table


def write_page(outcomes: Sequence[Outcome], summary: Summary, path: Path) -> None:
    """Write the page atomically.

    Raises:
        UserError: As `whole_or_nothing`.
    """
    compared = [(o.case.name, o.score) for o in outcomes if o.score is not None]
    errors = [(o.case.name, o.error) for o in outcomes if o.score is None]
    write_html(
        path,
        "evaluation.html",
        version=__version__,
        cases=len(compared),
        vertebrae=summary.vertebrae,
        errors=Table.of(("case", "why"), errors),
        tiles=_tiles(summary) if compared else (),
        level_plot=Markup(level_plot(summary.levels)) if summary.vertebrae else None,
        levels=_levels(summary),
        confusion_plot=Markup(confusion_plot(summary.levels)) if summary.confusions else None,
        statistics=_statistics(summary),
        scores=_scores(compared),
        details=[_CaseDetails(name, score.note, _vertebrae(score)) for name, score in compared],
        measures=MEASURES,
    )


def _tiles(summary: Summary) -> tuple[_Tile, ...]:
    spreads = summary.measures
    right, counted = summary.all_right
    low, high = summary.all_right_interval
    interval = "" if counted < 2 else f"95 % interval {100 * low:.0f} to {100 * high:.0f} %"
    named, identified = summary.total("named_right"), summary.total("identified")
    missed, extra = summary.total("missed"), sum(len(score.extra) for score in summary.scores)

    def average(key: str) -> str:
        text = _BY_KEY[key].text(spreads[key].mean)
        return f"{text} mm" if _BY_KEY[key].unit and text != "-" else text

    cases = f"{right} of {counted} case{'' if counted == 1 else 's'}"
    dice, distance = average("dice_matched"), average("hd95_matched_mm")
    f1, quality = (_BY_KEY[key].text(getattr(summary, key)) for key in ("f1", "pq"))
    return (
        _Tile("Dice per vertebra", dice, f"by name {average('dice_named')}"),
        _Tile("Bone Dice", average("bone_dice"), f"HD95 {average('bone_hd95_mm')}"),
        _Tile("HD95 per vertebra", distance, f"ASSD {average('assd_matched_mm')}"),
        _Tile(
            "Identification rate",
            average("identification_rate"),
            f"VerSe: {identified} of {summary.vertebrae}",
        ),
        _Tile("Localisation", average("localisation_mm"), "centroids, by name"),
        _Tile("Named right", f"{named} of {summary.vertebrae}", f"{missed} missed, {extra} extra"),
        _Tile("All levels right", cases, interval),
        _Tile("Instance F1", f1, f"PQ {quality}"),
    )


def _levels(summary: Summary) -> Table:
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
    return Table.of(heads, rows)


def _numbers(vertebrae: Sequence[VertebraScore]) -> list[str]:
    dice, mm = _BY_KEY["dice_matched"], _BY_KEY["hd95_matched_mm"]
    return [
        dice.text(mean(v.dice for v in vertebrae)),
        dice.text(mean(v.named_dice for v in vertebrae)),
        mm.text(mean(v.surface.hd95_mm for v in vertebrae)),
        mm.text(mean(v.surface.assd_mm for v in vertebrae)),
        mm.text(mean(v.centre_mm for v in vertebrae)),
    ]


def _statistics(summary: Summary) -> Table:
    heads = ("measure", "mean", "sd", "median", "least", "most", "cases")
    rows = []
    for measure in MEASURES:
        s = summary.measures[measure.key]
        numbers = (s.mean, s.sd, s.median, s.least, s.most)
        rows.append([measure.head, *map(measure.text, numbers), str(s.count)])
    return Table.of(heads, rows)


def _scores(compared: list[tuple[str, Comparison]]) -> Table:
    heads = ("case", "named right", *(_BY_KEY[key].head for key in _CASE_KEYS), "extra", "beyond")
    rows = [
        [
            name,
            f"{score.named_right} of {len(score.vertebrae)}",
            *(_BY_KEY[key].text(_BY_KEY[key].of(score)) for key in _CASE_KEYS),
            " ".join(score.extra),
            " ".join(score.beyond),
        ]
        for name, score in compared
    ]
    return Table.of(heads, rows)


def _vertebrae(score: Comparison) -> Table:
    heads = ("level", "state", "found as", "in view", "Dice, matched", "Dice, by name")
    heads += ("HD95, matched (mm)", "ASSD, matched (mm)", "localisation (mm)")
    rows = [
        [v.name, state(v), v.found_as or "", "cut" if v.cut else "whole", *_numbers([v])]
        for v in score.vertebrae
    ]
    for kind, names in (("extra", score.extra), ("beyond", score.beyond)):
        rows += [["", kind, name, *[""] * 6] for name in names]
    return Table.of(heads, rows)
