"""Quality flags of the patient's orientation: levels downwards, processes behind the bodies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spinemamba.findings.level_flags import LIMITS, QualityLimits
from spinemamba.protocol.flags import Flag


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
    if len(back_mm) < limits.least_for_order or np.median(back_mm) >= limits.back_to_front:
        return None
    middle = float(np.median(back_mm))
    sentence = "The processes point to the front: is the patient's orientation in the file right?"
    return Flag("back_to_front", middle, sentence)
