"""Reasons to look at a vertebra: what its level, size and place among its neighbours say.

What its voxels say is in `shape_flags`; the thresholds of both stand here, in one table.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.labels import ORDER
from spinemamba.anatomy.statistics import STEP_MM, usual_volume_ml
from spinemamba.instances.find import Instance
from spinemamba.levels.transitions import USUAL, distance_mm
from spinemamba.protocol.flags import Flag


@dataclass(frozen=True)
class QualityLimits:
    """Thresholds of the flags, each the flag's name with what is not yet flagged.

    Attributes:
        level_uncertain: Least probability of the level.
        two_in_one: Most probability of being two vertebrae.
        volume_outlier: Smallest and largest volume over the mean of the whole neighbours.
        volume_unusual: The same over what is usual for the level and this patient's size.
        spacing_outlier: Most standard deviations between a distance to the vertebra above and what
            is usual for the levels and this patient's size.
        several_pieces: Most volume outside of the largest piece, as a share.
        hole: Most volume of enclosed holes, as a share.
        two_cores: Smallest second core, as a share of the first, that counts as one.
        asymmetry: Most difference of the volumes left and right of the core, as a share.
        metal: Most volume above `metal_hu`, mL.
        metal_hu: Brighter than any bone.
        back_to_front: Least way from the cores back to the centres of the whole vertebrae, mm.
        upside_down: Least correlation of the levels by appearance with the order of the vertebrae.
        least_for_order: Fewer vertebrae say nothing about it.
    """

    level_uncertain: float = 0.9
    two_in_one: float = 0.5
    volume_outlier: tuple[float, float] = (0.6, 1.6)
    volume_unusual: tuple[float, float] = (0.5, 2.0)
    spacing_outlier: float = 3.0
    several_pieces: float = 0.005
    hole: float = 0.01
    two_cores: float = 0.3
    asymmetry: float = 0.25
    metal: float = 0.2
    metal_hu: float = 2500.0
    back_to_front: float = 0.0
    upside_down: float = -0.5
    least_for_order: int = 4


LIMITS = QualityLimits()

LEVEL_FLAGS = (
    "cut_by_image",
    "level_uncertain",
    "two_in_one",
    "volume_outlier",
    "volume_unusual",
    "level_twice",
    "wrong_order",
    "level_gap",
    "spacing_outlier",
)
"""Names of the flags that `level_flags` gives; all others stay when names change."""


def level_flags(
    items: Sequence[Instance],
    names: Sequence[str | None],
    posteriors: Sequence[float],
    doubles: Sequence[float],
    limits: QualityLimits = LIMITS,
) -> list[tuple[Flag, ...]]:
    """Return the flags of each instance that depend on names and neighbours.

    Args:
        items: Instances, top to bottom.
        names: Their levels; None is no vertebra.
        posteriors: Probability of each level.
        doubles: Probability of each instance being two vertebrae.
        limits: Thresholds.
    """
    out: list[list[Flag]] = [[] for _ in items]
    for k, item in enumerate(items):
        if item.cut_sides:
            sentence = f"Cut by the image ({', '.join(item.cut_sides)})."
            out[k].append(Flag("cut_by_image", None, sentence))
        if (p := float(posteriors[k])) < limits.level_uncertain:
            out[k].append(Flag("level_uncertain", p, f"Level uncertain ({100 * p:.0f} %)."))
        if (p := float(doubles[k])) > limits.two_in_one:
            sentence = f"May be two vertebrae in one ({100 * p:.0f} %)."
            out[k].append(Flag("two_in_one", p, sentence))
        ratio = _volume_ratio(items, k)
        if ratio is not None and not limits.volume_outlier[0] <= ratio <= limits.volume_outlier[1]:
            sentence = f"Volume is {ratio:.1f} times that of its neighbours."
            out[k].append(Flag("volume_outlier", ratio, sentence))
    known = [k for k, name in enumerate(names) if name]
    for k, flag in _unusual_volumes(items, names, known, limits):
        out[k].append(flag)
    for above, below in itertools.pairwise(known):
        out[below] += _order_flags(names[above], names[below])
    for k, flag in _unusual_steps(items, names, known, limits):
        out[k].append(flag)
    return [tuple(found) for found in out]


def _volume_ratio(items: Sequence[Instance], k: int) -> float | None:
    """Return a volume relative to the whole neighbours' mean; None where that means nothing."""
    if not _whole(items[k]):
        return None
    beside = [items[j] for j in (k - 1, k + 1) if 0 <= j < len(items)]
    volumes = [item.volume_ml for item in beside if _whole(item)]
    return items[k].volume_ml / float(np.mean(volumes)) if volumes else None


def _unusual_volumes(
    items: Sequence[Instance],
    names: Sequence[str | None],
    known: list[int],
    limits: QualityLimits,
) -> list[tuple[int, Flag]]:
    """Return which volumes are unusual for their level, in a patient of this size."""
    ratios = {
        k: items[k].volume_ml / usual_volume_ml(names[k] or "")
        for k in known
        if _whole(items[k]) and names[k] != "Sacrum"
    }
    if len(ratios) < limits.least_for_order:
        return []
    size = float(np.median(list(ratios.values())))
    low, high = limits.volume_unusual
    return [
        (k, Flag("volume_unusual", r / size, f"Volume is {r / size:.1f} times the usual."))
        for k, r in ratios.items()
        if not low <= r / size <= high
    ]


def _order_flags(above: str | None, below: str | None) -> list[Flag]:
    """Return what is wrong with one level right below another."""
    a, b = ORDER[above or ""], ORDER[below or ""]
    if a == b:
        return [Flag("level_twice", None, f"{below} is there twice.")]
    if a > b:
        return [Flag("wrong_order", None, f"{below} lies below {above}.")]
    missed = [name for name in USUAL if a < ORDER[name] < b]
    # Spines with 11 thoracic or 4 lumbar vertebrae lack one without a gap.
    if not missed or missed in (["T12"], ["L5"]):
        return []
    sentence = f"Between {above} and this one {', '.join(missed)} was not found."
    return [Flag("level_gap", float(len(missed)), sentence)]


def _unusual_steps(
    items: Sequence[Instance],
    names: Sequence[str | None],
    known: list[int],
    limits: QualityLimits,
) -> list[tuple[int, Flag]]:
    """Return which vertebrae lie too near to the one above or too far, for a patient this size."""
    steps = []
    for above, below in itertools.pairwise(known):
        usual = STEP_MM.get((names[above] or "", names[below] or ""))
        gap_mm = distance_mm(items[above], items[below])
        if usual is not None and np.isfinite(gap_mm):
            steps.append((below, gap_mm, *usual))
    if len(steps) < limits.least_for_order:
        return []
    size = float(np.median([gap_mm / mean for _, gap_mm, mean, _ in steps]))
    out = []
    for k, gap_mm, mean, spread in steps:
        # Half as much again, because centres of whole vertebrae lie less evenly than of bodies.
        z = (gap_mm / size - mean) / (1.5 * spread)
        if abs(z) > limits.spacing_outlier:
            word = "far from" if z > 0 else "near to"
            sentence = f"Unusually {word} the one above ({gap_mm:.0f} mm)."
            out.append((k, Flag("spacing_outlier", float(z), sentence)))
    return out


def _whole(item: Instance) -> bool:
    return not item.is_sacrum and not item.cut_sides
