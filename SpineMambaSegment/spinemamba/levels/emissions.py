"""Emissions of the level solver: log likelihoods of the levels of each instance.

They combine the level probabilities of the networks with the volumes of neighbouring instances.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.anatomy.statistics import VOLUME_STEP_OUTLIER, VOLUME_STEP_SPREAD, usual_volume_ml
from spinemamba.instances.find import Instance
from spinemamba.levels.transitions import INDEX, NAMES, USUAL

SHIFTS = (0, -1, 1)
"""Shifts of level probabilities, in levels towards the tail."""

DISTINCT = ("C1", "C2", "Sacrum")
"""Levels of a unique shape; their probabilities are never shifted."""

_IS_DISTINCT = np.isin(NETWORK_LEVELS, DISTINCT)
_NETWORK_INDEX = np.array([INDEX[name] for name in NETWORK_LEVELS])
"""Index in `NAMES` of each of `NETWORK_LEVELS`."""

_HAS_RIBS = np.array([name.startswith("T") for name in NAMES])

MERGED_LEVELS = {
    INDEX[upper]: INDEX[lower] for upper, lower in itertools.pairwise(USUAL) if lower != "Sacrum"
}
"""Indices of the upper and the lower level of two merged vertebrae."""


@dataclass(frozen=True)
class EmissionOptions:
    """Weights and thresholds, each with its reason.

    Attributes:
        level_weight: Exponent of the level probabilities. Below 1, because neighbours are
            predicted from the same part of the image, or with each other, and are not independent.
        rib_weight: Exponent of the probability that ribs are seen at a level with ribs, or not seen
            at one without. Below 1, because the level probabilities depend on ribs, too. Both
            exponents were fitted to chains of bodies and scans outside of the level network's
            training: probabilities from 0.9 were right in 90 % of them.
        rib_floor: Least of these probabilities: a rib may be rudimentary or outside of the field of
            view, and L1 or C7 may have one.
        level_floor: Least level probability: no network is ever certain.
        anchor: Least total probability of the levels of unique shape for an instance to be an
            anchor.
        anchor_floor: Least level probability of an anchor. Errors are rare, but possible.
        small_sacrum: A sacrum that the image truncates and that is smaller than this, relative to
            the larger of the two vertebrae above it, is no anchor unless it is certain by its
            appearance. The first sacral segment alone is larger than half of an L5.
        pin_log_likelihood: Log likelihood of a pinned level. It exceeds all other terms, but is
            finite: contradicting pins give a labeling that violates one of them, which is
            detected.
        volume_spread: Standard deviation of the binary logarithm of a volume relative to the
            neighbours'.
        part_spread: The same if part of a vertebra may have been assigned to its neighbours.
        merged_volume: Mean of the same logarithm for two merged vertebrae; below 1, as bone
            between them is lost.
        volume_outlier: Share of volumes that are unusual for other reasons.
        non_vertebra_volume: Likelihood of any volume of a non-vertebra, relative to the best
            volume of a vertebra. The volume of a vertebra with half of its neighbours' volume is
            less likely than that.
    """

    level_weight: float = 0.8
    rib_weight: float = 0.9
    rib_floor: float = 0.05
    level_floor: float = 0.01
    anchor: float = 0.7
    anchor_floor: float = 1e-3
    small_sacrum: float = 0.5
    pin_log_likelihood: float = 50.0
    volume_spread: float = 0.35
    part_spread: float = 0.5
    merged_volume: float = 0.9
    volume_outlier: float = 0.01
    non_vertebra_volume: float = 0.1


def emissions(
    items: tuple[Instance, ...], pins: Mapping[int, str], options: EmissionOptions
) -> np.ndarray:
    """Return the log likelihood of each level for each of `SHIFTS`, (3, instances, 27).

    Args:
        items: Instances from top to bottom.
        pins: Fixed levels by instance number.
        options: Weights.
    """
    values = np.array([item.level_probabilities for item in items], float)
    anchor = _is_anchor(values, options)
    values = np.where(anchor[:, None] & ~_IS_DISTINCT, 0.0, values)
    floors = np.where(anchor, options.anchor_floor, options.level_floor)[:, None]
    weights = np.where(anchor, 1.0, options.level_weight)[:, None]
    probabilities = np.stack([_shifted(values, by) for by in SHIFTS])  # (3, instances, 25)
    out = np.full((len(probabilities), len(items), len(NAMES)), -np.inf)
    out[..., _NETWORK_INDEX] = weights * np.log(floors + (1 - floors) * probabilities)
    # The networks are trained with T13 as T12 and L6 as L5; the sequence distinguishes them.
    out[..., INDEX["T13"]], out[..., INDEX["L6"]] = out[..., INDEX["T12"]], out[..., INDEX["L5"]]
    out += _rib_likelihoods(items, options)
    out[..., INDEX["Sacrum"]] = -np.inf
    for k, item in enumerate(items):
        pin = pins.get(item.id)
        if pin is not None or item.is_sacrum:
            out[:, k] = -np.inf
            out[:, k, INDEX[pin or "Sacrum"]] = options.pin_log_likelihood if pin else 0.0
            if not pin:
                odds = _last_lumbar_odds(item, items[:k], options)
                out[:, k, [INDEX["L5"], INDEX["L6"]]] = np.log(odds)
    return out


def _last_lumbar_odds(
    item: Instance, above: tuple[Instance, ...], options: EmissionOptions
) -> float:
    """Return the likelihood that a sacrum is an L5 or L6, relative to that of the sacrum.

    Where the image ends within L5, or shows no more of it than its upper facets, that little bone
    at the end of the image may be taken for the sacrum. It would name all vertebrae above.
    """
    sacrum, last_lumbar = (
        item.level_probabilities[NETWORK_LEVELS.index(name)] for name in ("Sacrum", "L5")
    )
    largest_ml = max((other.volume_ml for other in above[-2:]), default=0.0)
    small = item.volume_ml < options.small_sacrum * largest_ml
    if sacrum >= options.anchor or not small or "inferior" not in item.cut_sides:
        return options.anchor_floor
    return float(np.clip(last_lumbar / max(sacrum, 1e-6), options.anchor_floor, 1.0))


def _rib_likelihoods(items: tuple[Instance, ...], options: EmissionOptions) -> np.ndarray:
    """Return the log likelihood of the ribs seen at each instance for each level, (n, 27).

    It is relative to that of an instance of which nothing is known, as that of a non-vertebra.
    """
    out = np.zeros((len(items), len(NAMES)))
    for k, item in enumerate(items):
        if item.witnesses is not None:
            seen = (item.witnesses.rib_left + item.witnesses.rib_right) / 2
            agrees = np.where(_HAS_RIBS, seen, 1 - seen)
            floor = options.rib_floor
            out[k] = options.rib_weight * np.log(2 * (floor + (1 - 2 * floor) * agrees))
    return out


def _is_anchor(values: np.ndarray, options: EmissionOptions) -> np.ndarray:
    """Return the mask of level probabilities (..., 25) that are of an anchor, bool (...)."""
    return values[..., _IS_DISTINCT].sum(axis=-1) >= options.anchor


def _shifted(values: np.ndarray, by: int) -> np.ndarray:
    """Return level probabilities (..., 25), those of unique shape unshifted."""
    shifted = np.where(_IS_DISTINCT, 0.0, values)
    if by:
        shifted = np.roll(shifted, by, axis=-1)
        shifted[..., 0 if by > 0 else -1] = 0.0
    return np.where(_IS_DISTINCT, values, shifted)


def merged_emissions(
    single: np.ndarray,
    items: tuple[Instance, ...],
    pins: Mapping[int, str],
    options: EmissionOptions,
) -> np.ndarray:
    """Return the log likelihood of each level merged with the next one below.

    Args:
        single: Result of `emissions`.
        items: Instances from top to bottom.
        pins: Fixed levels by instance number; a pinned instance is one vertebra.
        options: Weights.

    Returns:
        Array of the shape of ``single``; the index of a level is that of the upper vertebra.
    """
    out = np.full_like(single, -np.inf)
    for upper, lower in MERGED_LEVELS.items():
        out[..., upper] = np.logaddexp(single[..., upper], single[..., lower]) - np.log(2)
    ratio = _volume_ratios(items)
    single_volume = _volume_likelihood(ratio, 0.0, options)
    merged_volume = _volume_likelihood(ratio, options.merged_volume, options)
    out += np.log(merged_volume / single_volume)[:, None]
    out[:, [item.is_sacrum or item.id in pins for item in items]] = -np.inf
    return out


def non_vertebra_emissions(
    single: np.ndarray, items: tuple[Instance, ...], options: EmissionOptions
) -> np.ndarray:
    """Return the log likelihood of not being a vertebra, in the shape of ``single``."""
    ratio = _volume_ratios(items) * options.volume_spread / options.part_spread
    volume = np.where(np.isnan(ratio), 1.0, _volume_likelihood(ratio, 0.0, options))
    # Networks label false instances with the nearby level almost as confidently as real ones. The
    # sum of squares, the expected probability of the level, cancels this confidence.
    expected = (np.array([item.level_probabilities for item in items], float) ** 2).sum(axis=1)
    likelihood = np.maximum(expected, 1 / len(NETWORK_LEVELS)) * options.non_vertebra_volume
    out = np.log(likelihood / volume)
    # The level network has a class for them.
    for k, item in enumerate(items):
        if item.no_vertebra is not None:
            floor = options.level_floor
            out[k] = options.level_weight * np.log(floor + (1 - floor) * item.no_vertebra)
    return np.broadcast_to(out[:, None], single.shape).copy()


def _volume_ratios(items: tuple[Instance, ...]) -> np.ndarray:
    """Return the binary logarithm of each volume relative to its complete neighbours'.

    The reference is the median of up to four neighbours, two on each side. For an even number it is
    the larger of the two middle ones.

    Returns:
        (instances,); NaN for truncated instances, the sacrum, and without complete neighbours.
    """
    out = np.full(len(items), np.nan)
    for k, item in enumerate(items):
        neighbours = [*items[max(0, k - 2) : k], *items[k + 1 : k + 3]]
        volumes = sorted(i.volume_ml for i in neighbours if _is_complete(i))
        if volumes and _is_complete(item):
            out[k] = np.log2(item.volume_ml / volumes[len(volumes) // 2])
    return out


def _volume_likelihood(ratio: np.ndarray, mean: float, options: EmissionOptions) -> np.ndarray:
    """Return the likelihood of volumes relative to the maximum, with outliers.

    Args:
        ratio: Result of `_volume_ratios`; NaN has likelihood 1.
        mean: Mean of the ratio.
        options: Spread and share of outliers.
    """
    z = np.nan_to_num((ratio - mean) / options.volume_spread)
    return options.volume_outlier + (1 - options.volume_outlier) * np.exp(-0.5 * z**2)


def _is_complete(item: Instance) -> bool:
    return not item.is_sacrum and not item.cut_sides


def volume_transitions(items: tuple[Instance, ...]) -> np.ndarray:
    """Return the likelihood of each ratio of successive volumes for each pair of levels.

    Ratios do not depend on the body size of the patient.

    Returns:
        Likelihoods relative to the maximum, (instances - 1, upper, lower); 1 if one of the two
        instances is truncated or the sacrum.
    """
    usual = np.log([usual_volume_ml(name) for name in NAMES])
    volumes = [np.log(item.volume_ml) if _is_complete(item) else np.nan for item in items]
    misfit = np.diff(np.array(volumes))[:, None, None] - (usual[None, :] - usual[:, None])
    likelihood = np.exp(-0.5 * (misfit / VOLUME_STEP_SPREAD) ** 2)
    likelihood = VOLUME_STEP_OUTLIER + (1 - VOLUME_STEP_OUTLIER) * likelihood
    return np.where(np.isnan(misfit), 1.0, likelihood)
