"""Tables of results for the model card, the benchmarks page and README."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from public_cases import is_trained_on

from spinemamba.anatomy.labels import LABELS
from spinemamba.evaluation.scores import Comparison, VertebraScore

NAMELESS = ("tptbox_mr",)
"""Cases whose labels are instance numbers, not levels."""


def case_table(scores: dict[str, Comparison]) -> str:
    """Return a table with a row per case: metrics of VerSe, and instance metrics."""
    heads = (
        "case",
        "bone Dice",
        "HD95 mm",
        "ASSD mm",
        "Dice per vertebra",
        "HD95 mm",
        "ASSD mm",
        "identified",
        "off by mm",
        "F1",
        "PQ",
    )
    rows = []
    for name, s in scores.items():
        named = name not in NAMELESS
        rows.append(
            (
                name,
                f"{s.bone_dice:.3f}",
                f"{s.bone_surface.hd95_mm:.1f}",
                f"{s.bone_surface.assd_mm:.2f}",
                f"{s.mean_dice:.3f}",
                f"{s.hd95_mm:.1f}",
                f"{s.assd_mm:.2f}",
                f"{100 * s.identification_rate:.0f} %" if named else "",
                number(s.localisation_mm) if named else "",
                f"{s.f1:.2f}",
                f"{s.pq:.2f}",
            )
        )
    return markdown(heads, rows)


def level_table(scores: dict[str, Comparison]) -> str:
    """Return a table with a row per level; test and training cases have separate columns."""
    parts: dict[bool, dict[str, list[VertebraScore]]] = {True: defaultdict(list)}
    parts[False] = defaultdict(list)
    for name, score in scores.items():
        if name not in NAMELESS:
            for vertebra in score.vertebrae:
                parts[not is_trained_on(name)][vertebra.name].append(vertebra)
    rows = [
        (label.name, *summary(parts[True][label.name]), *summary(parts[False][label.name]))
        for label in LABELS
        if parts[True][label.name] or parts[False][label.name]
    ]
    heads = [
        f"{part}: {head}" for part in ("unseen", "learned") for head in ("n", "Dice", "HD95 mm")
    ]
    return markdown(("level", *heads), rows)


def summary(vertebrae: list[VertebraScore]) -> tuple[str, str, str]:
    """Return count, mean Dice after matching, and mean HD95 of matched vertebrae."""
    if not vertebrae:
        return "", "", ""
    distances = [v.surface.hd95_mm for v in vertebrae if np.isfinite(v.surface.hd95_mm)]
    mean_mm = number(float(np.mean(distances))) if distances else "missed"
    return str(len(vertebrae)), f"{np.mean([v.dice for v in vertebrae]):.2f}", mean_mm


def number(value: float) -> str:
    """Return a number with one decimal; "none" if it is not finite."""
    return f"{value:.1f}" if np.isfinite(value) else "none"


def markdown(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def result_table(results: dict[str, dict[str, Any]]) -> str:
    """Return a table of ``results`` in model.json: scores, time and memory of each case."""
    heads = ("case", "in training", "bone Dice", "HD95 mm", "Dice per vertebra", "found")
    heads += ("named right", "ambiguous", "s", "GB")
    rows = []
    for name, r in results.items():
        scored = "bone_dice" in r
        cells = (
            name,
            "yes" if r["in_training"] else "no",
            f"{r['bone_dice']:.3f}" if scored else "no labels",
            str(r["bone_hd95_mm"]) if scored else "",
            f"{r['mean_dice']:.3f}" if scored else "",
            _of(r, "found") if scored else f"{r['vertebrae'][0]} to {r['vertebrae'][-1]}",
            _of(r, "named_right"),
            "yes" if r["ambiguous"] else "no",
            str(r["seconds"]),
            str(r["gigabytes"]),
        )
        rows.append(cells)
    return markdown(heads, rows)


def result_summary(results: dict[str, dict[str, Any]]) -> str:
    """Return a short form of `result_table`, only cases with labels, test cases first."""
    heads = ("case", "modality", "in training", "Dice per vertebra", "found", "named right")
    scored = [(name, r) for name, r in results.items() if "bone_dice" in r]
    rows = [
        (
            name,
            "MR" if name in NAMELESS else "CT",
            "yes" if r["in_training"] else "no",
            f"{r['mean_dice']:.2f}",
            _of(r, "found"),
            _of(r, "named_right") or "not labelled",
        )
        for name, r in sorted(scored, key=lambda item: item[1]["in_training"])
    ]
    return markdown(heads, rows)


def _of(result: dict[str, Any], key: str) -> str:
    """Return a count relative to the labelled vertebrae; an empty string if unknown."""
    count = result.get(key)
    return "" if count is None else f"{count} of {result['labelled']}"
