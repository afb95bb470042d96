"""What the networks' look at each vertebra says of its level."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.anatomy.statistics import VOLUME_STEP_OUTLIER, VOLUME_STEP_SPREAD, usual_volume_ml
from spinemamba.instances.find import Instance
from spinemamba.levels.transitions import INDEX, NAMES, USUAL

SHIFTS = (0, -1, 1)
"""By how many levels all evidence may be off together."""

DISTINCT = ("C1", "C2", "Sacrum")
"""Levels of a shape that no other has; evidence for these is never off by one."""

IS_DISTINCT = np.isin(NETWORK_LEVELS, DISTINCT)
PLACES = np.array([INDEX[name] for name in NETWORK_LEVELS])
"""Place of each of `NETWORK_LEVELS` among `NAMES`."""

MERGED_LEVELS = {
    INDEX[upper]: INDEX[lower] for upper, lower in itertools.pairwise(USUAL) if lower != "Sacrum"
}
"""Which levels an instance may be that is two vertebrae in one: the upper and the lower."""

VOLUME_SPREAD = 0.35
"""Standard deviation of the binary logarithm of a vertebra's volume over its neighbours'."""

PART_SPREAD = 0.5
"""The same, where part of a vertebra may have been given to its neighbours."""

DOUBLE_VOLUME = 0.9
"""The same logarithm for two in one: bone between them is lost."""

VOLUME_OUTLIER = 0.01

NOTHING_FITS = 0.1
"""How well any volume fits what is no vertebra, relative to the best volume of one: a piece of half
the neighbours' volume fits a vertebra worse than that."""

ANCHOR = 0.7
"""An instance whose evidence for the distinct levels is at least this counts as an anchor."""

SURE_FLOOR = 1e-3
"""How often what looks like a distinct level is another one: rare, but no network is infallible.
"""


PIN_LOG_LIKELIHOOD = 50.0
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
    values = np.array([item.evidence for item in items], float)
    sure = _looks_distinct(values)
    values = np.where(sure[:, None] & ~IS_DISTINCT, 0.0, values)
    floors = np.where(sure, SURE_FLOOR, floor)[:, None]
    weights = np.where(sure, 1.0, weight)[:, None]
    seen = np.stack([_shifted(values, by) for by in SHIFTS])  # (shifts, instances, 25)
    out = np.full((len(SHIFTS), len(items), len(NAMES)), -np.inf)
    out[..., PLACES] = weights * np.log(floors + (1 - floors) * seen)
    # T13 trains as T12 and L6 as L5: the network cannot tell them apart, the sequence does.
    out[..., INDEX["T13"]], out[..., INDEX["L6"]] = out[..., INDEX["T12"]], out[..., INDEX["L5"]]
    out[..., INDEX["Sacrum"]] = -np.inf
    for k, item in enumerate(items):
        pin = pins.get(item.id)
        if pin is not None or item.is_sacrum:
            out[:, k] = -np.inf
            out[:, k, INDEX[pin or "Sacrum"]] = PIN_LOG_LIKELIHOOD if pin else 0.0
            if not pin:
                out[:, k, [INDEX["L5"], INDEX["L6"]]] = np.log(SURE_FLOOR)
    return out


def _looks_distinct(values: np.ndarray) -> np.ndarray:
    """Return which evidence, (..., 25), is for levels of a shape of their own."""
    return values[..., IS_DISTINCT].sum(axis=-1) >= ANCHOR


def has_anchor(items: tuple[Instance, ...], pins: Mapping[int, str]) -> bool:
    """Return whether a level is sure by its shape, or because a person says so."""
    return any(
        item.is_sacrum or item.id in pins or _looks_distinct(np.asarray(item.evidence))
        for item in items
    )


def _shifted(values: np.ndarray, by: int) -> np.ndarray:
    """Return evidence (..., 25), all but the distinct levels moved towards the tail."""
    moved = np.where(IS_DISTINCT, 0.0, values)
    if by:
        moved = np.roll(moved, by, axis=-1)
        moved[..., 0 if by > 0 else -1] = 0.0
    return np.where(IS_DISTINCT, values, moved)


def merged_emissions(
    single: np.ndarray, items: tuple[Instance, ...], pins: Mapping[int, str]
) -> np.ndarray:
    """Return the log evidence of each level with the next below it in one, as `emissions`.

    Args:
        single: From `emissions`.
        items: Instances, top to bottom.
        pins: As there: a pinned vertebra is one.
    """
    out = np.full_like(single, -np.inf)
    for upper, lower in MERGED_LEVELS.items():
        out[..., upper] = np.logaddexp(single[..., upper], single[..., lower]) - np.log(2)
    ratio = _volume_ratios(items)
    single_fits, double_fits = _fits(ratio, 0.0), _fits(ratio, DOUBLE_VOLUME)
    out += np.log(double_fits / single_fits)[:, None]
    out[:, [item.is_sacrum or item.id in pins for item in items]] = -np.inf
    return out


def non_vertebra_emissions(single: np.ndarray, items: tuple[Instance, ...]) -> np.ndarray:
    """Return the log evidence of each instance being no vertebra, as `emissions`."""
    ratio = _volume_ratios(items) * VOLUME_SPREAD / PART_SPREAD
    fits = np.where(np.isnan(ratio), 1.0, _fits(ratio, 0.0))
    # Networks give what is no vertebra the level of the place where it lies, nearly as sharply as
    # they do a vertebra: its looks speak neither for nor against it.
    looks = (np.array([item.evidence for item in items], float) ** 2).sum(axis=1)
    out = np.log(np.maximum(looks, 1 / len(NETWORK_LEVELS)) * NOTHING_FITS / fits)
    return np.broadcast_to(out[:, None], single.shape).copy()


def _volume_ratios(items: tuple[Instance, ...]) -> np.ndarray:
    """Return the binary logarithm of each volume over its neighbours', NaN if it says nothing."""
    out = np.full(len(items), np.nan)
    for k, item in enumerate(items):
        beside = [*items[max(0, k - 2) : k], *items[k + 1 : k + 3]]
        volumes = sorted(i.volume_ml for i in beside if _whole(i))
        if volumes and _whole(item):
            out[k] = np.log2(item.volume_ml / volumes[len(volumes) // 2])
    return out


def _fits(ratio: np.ndarray, mean: float) -> np.ndarray:
    """Return how well volumes fit, relative to the best, with room for outliers; NaN fits."""
    z = np.nan_to_num((ratio - mean) / VOLUME_SPREAD)
    return VOLUME_OUTLIER + (1 - VOLUME_OUTLIER) * np.exp(-0.5 * z**2)


def _whole(item: Instance) -> bool:
    return not item.is_sacrum and not item.cut_sides


def volume_transitions(items: tuple[Instance, ...]) -> np.ndarray:
    """Return how well each volume after the one above fits each two levels, (n - 1, 27, 27).

    Relative to the best fit, 1 where a volume says nothing; the patient's size drops out.
    """
    usual = np.log([usual_volume_ml(name) for name in NAMES])
    seen = np.array([np.log(item.volume_ml) if _whole(item) else np.nan for item in items])
    misfit = np.diff(seen)[:, None, None] - (usual[None, :] - usual[:, None])
    fits = np.exp(-0.5 * (misfit / VOLUME_STEP_SPREAD) ** 2)
    fits = VOLUME_STEP_OUTLIER + (1 - VOLUME_STEP_OUTLIER) * fits
    return np.where(np.isnan(misfit), 1.0, fits)
