"""Reasons to look at a vertebra, each with its number and a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.flags import Flag
from spinemamba.instances import Instance


@dataclass(frozen=True)
class QualityLimits:
    """Thresholds of the flags.

    Attributes:
        posterior: A level less certain than this is worth a look.
        volume_ratio: Smallest and largest volume relative to the mean of the neighbours.
    """

    posterior: float = 0.9
    volume_ratio: tuple[float, float] = (0.6, 1.6)


def flags(
    items: tuple[Instance, ...],
    posteriors: tuple[float, ...],
    limits: QualityLimits | None = None,
) -> list[tuple[Flag, ...]]:
    """Return the flags of each instance.

    Args:
        items: Instances, top to bottom.
        posteriors: Probability of each instance's level.
        limits: Thresholds.
    """
    limits = limits or QualityLimits()
    out = []
    for k, (item, posterior) in enumerate(zip(items, posteriors, strict=True)):
        found = []
        if item.cut_sides:
            sentence = f"Cut by the image ({', '.join(item.cut_sides)})."
            found.append(Flag("cut_by_image", None, sentence))
        if posterior < limits.posterior:
            sentence = f"Level uncertain ({100 * posterior:.0f} %)."
            found.append(Flag("level_uncertain", posterior, sentence))
        ratio = _volume_ratio(items, k)
        if ratio is not None and not limits.volume_ratio[0] <= ratio <= limits.volume_ratio[1]:
            sentence = f"Volume is {ratio:.1f} times that of its neighbours."
            found.append(Flag("volume_outlier", ratio, sentence))
        out.append(tuple(found))
    return out


def _volume_ratio(items: tuple[Instance, ...], k: int) -> float | None:
    """Return a volume relative to the whole neighbours' mean; None where that means nothing."""
    if items[k].is_sacrum or items[k].cut_sides:
        return None
    beside = [items[j] for j in (k - 1, k + 1) if 0 <= j < len(items)]
    volumes = [item.volume_ml for item in beside if not item.is_sacrum and not item.cut_sides]
    return items[k].volume_ml / float(np.mean(volumes)) if volumes else None
