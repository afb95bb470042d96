"""Quality flags from the levels, volumes and positions of vertebrae, and of the orientation.

Flags from voxels are in `shape_flags`. `QualityLimits` has the thresholds of both.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.labels import ORDER
from spinemamba.anatomy.statistics import STEP_MM, usual_volume_ml
from spinemamba.instances.find import Instance
from spinemamba.levels.transitions import USUAL, TransitionOptions, distance_mm
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.level_doubt import DOUBT_LIMITS, grade
from spinemamba.protocol.rib_findings import RIBS_MISSED, RIBS_SEEN, contradiction


@dataclass(frozen=True)
class QualityLimits:
    """Thresholds of the flags: limits of the values that are not flagged.

    Attributes:
        level_uncertain: Least probability of the level; `level_doubt` grades those below it.
        two_in_one: Greatest probability of being two vertebrae.
        volume_outlier: Least and greatest volume relative to the mean of the complete neighbours.
        volume_unusual: Least and greatest volume relative to the usual one of the level, scaled
            to the body size of the patient.
        spacing_outlier: Greatest deviation of the distance to the vertebra above from the usual
            one of the levels, scaled to the body size of the patient, in standard deviations.
        several_pieces: Greatest fraction of the volume outside of the largest piece.
        hole: Greatest fraction of the volume in enclosed holes.
        left_out_ml: Least volume of bone left out that is flagged. Less is noise at the surface.
        two_cores: Least volume of a second core, as a fraction of the first.
        asymmetry: Greatest difference of the volumes left and right of the core, as a fraction.
        ribs: Probability of ribs on both sides from which on a vertebra without ribs by its level
            is flagged, and up to which a thoracic one is. Far apart, because ribs at the edge of
            the field of view are uncertain.
        metal_ml: Greatest volume above `metal_hu`.
        metal_hu: Intensity above that of any bone.
        back_to_front_mm: Least distance backwards from the core to the centroid of a vertebra, as
            median over the vertebrae.
        upside_down: Least correlation of the levels by appearance with the order of the vertebrae.
        core_threshold: Least core probability of the voxels of a body. Higher than that of the
            core segmentation, which must not miss a body.
        symmetry_planes_deg: Angles of candidate planes of symmetry: in scoliosis, vertebrae rotate
            about the axis of the spine.
        least_for_order: Least number of vertebrae for the flags that compare several of them.
    """

    level_uncertain: float = DOUBT_LIMITS.proven
    two_in_one: float = 0.5
    volume_outlier: tuple[float, float] = (0.6, 1.6)
    volume_unusual: tuple[float, float] = (0.5, 2.0)
    spacing_outlier: float = 3.0
    several_pieces: float = 0.005
    hole: float = 0.01
    left_out_ml: float = 0.02
    two_cores: float = 0.3
    asymmetry: float = 0.25
    ribs: tuple[float, float] = (RIBS_SEEN, RIBS_MISSED)
    metal_ml: float = 0.2
    metal_hu: float = 2500.0
    back_to_front_mm: float = 0.0
    upside_down: float = -0.5
    core_threshold: float = 0.5
    symmetry_planes_deg: tuple[float, ...] = (-10.0, 0.0, 10.0)
    least_for_order: int = 4


LIMITS = QualityLimits()

LEVEL_FLAGS = (
    "cut_by_image",
    "level_uncertain",
    "level_likely",
    "two_in_one",
    "volume_outlier",
    "volume_unusual",
    "level_twice",
    "wrong_order",
    "level_gap",
    "spacing_outlier",
    "ribs_disagree",
)
"""Names of the flags of `level_flags`. All other flags remain when levels change."""


def level_flags(
    items: Sequence[Instance],
    names: Sequence[str | None],
    certainties: Sequence[tuple[float, float]],
    doubles: Sequence[float],
    limits: QualityLimits = LIMITS,
) -> list[tuple[Flag, ...]]:
    """Return the flags of each instance that depend on levels and neighbours.

    Args:
        items: Instances from top to bottom.
        names: Levels of the instances; None if not a vertebra.
        certainties: Posterior probability of each level, and of its likeliest alternative.
        doubles: Posterior probability that an instance is two vertebrae.
        limits: Thresholds.
    """
    out: list[list[Flag]] = [[] for _ in items]
    for k, item in enumerate(items):
        if item.cut_sides:
            sentence = f"Cut by the image ({', '.join(item.cut_sides)})."
            out[k].append(Flag("cut_by_image", None, sentence))
        if (flag := doubt_flag(*certainties[k])) is not None:
            out[k].append(flag)
        if (p := float(doubles[k])) > limits.two_in_one:
            sentence = f"May be two vertebrae in one ({100 * p:.0f} %)."
            out[k].append(Flag("two_in_one", p, sentence))
        ratio = _volume_ratio(items, k)
        if ratio is not None and not limits.volume_outlier[0] <= ratio <= limits.volume_outlier[1]:
            sentence = f"Volume is {ratio:.1f} times that of its neighbours."
            out[k].append(Flag("volume_outlier", ratio, sentence))
        out[k] += _rib_flags(item, names[k], limits)
    known = [k for k, name in enumerate(names) if name]
    for k, flag in _unusual_volumes(items, names, known, limits):
        out[k].append(flag)
    for above, below in itertools.pairwise(known):
        out[below] += _order_flags(names[above], names[below])
    for k, flag in _unusual_steps(items, names, known, limits):
        out[k].append(flag)
    return [tuple(flags) for flags in out]


def _rib_flags(item: Instance, name: str | None, limits: QualityLimits) -> list[Flag]:
    """Return the flag of a vertebra with ribs and a level without ribs, or the other way round."""
    if item.witnesses is None or name is None:
        return []
    sentence = contradiction(item.witnesses, name, limits.ribs)
    if not sentence:
        return []
    sides = (item.witnesses.rib_left, item.witnesses.rib_right)
    return [Flag("ribs_disagree", max(sides) if name.startswith("T") else min(sides), sentence)]


def doubt_flag(posterior: float, rival: float) -> Flag | None:
    """Return the flag of a level in doubt, or None.

    Args:
        posterior: Posterior probability of the level.
        rival: That of the most likely other level.
    """
    doubt, percent = grade(posterior, rival), f"{100 * posterior:.0f} %"
    if doubt == "likely":
        return Flag("level_likely", posterior, f"Level likely, not proven ({percent}).")
    if doubt == "check_level":
        return Flag("level_uncertain", posterior, f"Check the level ({percent}).")
    return None


def _volume_ratio(items: Sequence[Instance], k: int) -> float | None:
    """Return a volume relative to the mean of the complete neighbours.

    Return None if the instance is truncated or the sacrum, or has no complete neighbour.
    """
    if not _is_complete(items[k]):
        return None
    neighbours = [items[j] for j in (k - 1, k + 1) if 0 <= j < len(items)]
    volumes = [item.volume_ml for item in neighbours if _is_complete(item)]
    return items[k].volume_ml / float(np.mean(volumes)) if volumes else None


def _unusual_volumes(
    items: Sequence[Instance],
    names: Sequence[str | None],
    known: list[int],
    limits: QualityLimits,
) -> list[tuple[int, Flag]]:
    """Return flags of volumes that are unusual for the level and the body size."""
    ratios = {
        k: items[k].volume_ml / usual_volume_ml(names[k] or "")
        for k in known
        if _is_complete(items[k]) and names[k] != "Sacrum"
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
    """Return the flags of a level that follows directly below another."""
    a, b = ORDER[above or ""], ORDER[below or ""]
    if a == b:
        return [Flag("level_twice", None, f"{below} is there twice.")]
    if a > b:
        return [Flag("wrong_order", None, f"{below} lies below {above}.")]
    missed = [name for name in USUAL if a < ORDER[name] < b]
    # T11-L1 and L4-sacrum are no gaps in spines with 11 thoracic or 4 lumbar vertebrae.
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
    """Return flags of distances to the vertebra above that are unusual for the body size."""
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
        z = (gap_mm / size - mean) / (TransitionOptions.spread * spread)
        if abs(z) > limits.spacing_outlier:
            word = "far from" if z > 0 else "near to"
            sentence = f"Unusually {word} the one above ({gap_mm:.0f} mm)."
            out.append((k, Flag("spacing_outlier", float(z), sentence)))
    return out


def _is_complete(item: Instance) -> bool:
    return not item.is_sacrum and not item.cut_sides


def upside_down(levels: Sequence[float], limits: QualityLimits = LIMITS) -> Flag | None:
    """Return a flag if the levels are in reverse order, or None.

    Args:
        levels: Index of the level, or its expected value, of each vertebra from the highest to the
            lowest, (n,).
        limits: Thresholds.
    """
    if len(levels) < limits.least_for_order or np.ptp(levels) < 1:
        return None
    order = float(np.corrcoef(levels, np.arange(len(levels)))[0, 1])
    if order >= limits.upside_down:
        return None
    sentence = "The levels seem to run upwards: is the patient's orientation in the file right?"
    return Flag("upside_down", order, sentence)


def back_to_front(back_mm: Sequence[float], limits: QualityLimits = LIMITS) -> Flag | None:
    """Return a flag if the processes are in front of the bodies, or None.

    Args:
        back_mm: Distance backwards from each body to the centroid of its vertebra, (n,).
        limits: Thresholds.
    """
    if len(back_mm) < limits.least_for_order or np.median(back_mm) >= limits.back_to_front_mm:
        return None
    middle = float(np.median(back_mm))
    sentence = "The processes point to the front: is the patient's orientation in the file right?"
    return Flag("back_to_front", middle, sentence)
