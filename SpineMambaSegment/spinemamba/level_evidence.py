"""What the networks' look at each vertebra says of its level."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spinemamba.instances import Instance
from spinemamba.labels import NETWORK_LEVELS
from spinemamba.level_steps import INDEX, NAMES

SHIFTS = (0, -1, 1)
"""By how many levels all evidence may be off together."""

DISTINCT = ("C1", "C2", "Sacrum")
"""Levels of a shape that no other has; evidence for these is never off by one."""

PINNED = 50.0
"""Log evidence of a level that a person has pinned: nothing else outweighs it, but finite, so that
pins which contradict each other show as a pin that is not kept."""


def emissions(
    items: tuple[Instance, ...], pins: Mapping[int, str], weight: float, floor: float
) -> np.ndarray:
    """Return the log evidence of each level, (shifts, instances, 27).

    Args:
        items: Instances, top to bottom.
        pins: Levels that are certain, by the instance's number.
        weight: Below 1 where the same look counts several times.
        floor: Least probability that evidence gives.
    """
    return np.stack(
        [
            np.stack([_emission(item, pins.get(item.id), by, weight, floor) for item in items])
            for by in SHIFTS
        ]
    )


def _emission(item: Instance, pin: str | None, by: int, weight: float, floor: float) -> np.ndarray:
    out = np.full(len(NAMES), -np.inf)
    if pin is not None or item.is_sacrum:
        out[INDEX[pin or "Sacrum"]] = PINNED if pin else 0.0
        return out
    for name, probability in zip(NETWORK_LEVELS, _shifted(item.evidence, by), strict=True):
        out[INDEX[name]] = weight * np.log(floor + (1 - floor) * probability)
    # T13 trains as T12 and L6 as L5: the network cannot tell them apart, the sequence does.
    out[INDEX["T13"]], out[INDEX["L6"]] = out[INDEX["T12"]], out[INDEX["L5"]]
    out[INDEX["Sacrum"]] = -np.inf
    return out


def _shifted(evidence: tuple[float, ...], by: int) -> np.ndarray:
    """Return evidence with everything but the distinct levels moved towards the tail."""
    values = np.asarray(evidence, float)
    kept = np.isin(NETWORK_LEVELS, DISTINCT)
    moved = np.where(kept, 0.0, values)
    if by:
        moved = np.roll(moved, by)
        moved[0 if by > 0 else -1] = 0.0
    return np.where(kept, values, moved)
