"""Name the vertebrae: the most likely sequence of levels from head to tail.

A dynamic programme over the ordered instances. A state is the level of the last vertebra, and
whether the present instance is one at all. Steps to the next level are free in the usual way
and cost where a spine has 11 or 13 thoracic or 4 or 6 lumbar vertebrae, where a vertebra was
missed, or where an instance is none. Distances between neighbours add a Gaussian term with the
patient's size as a nuisance.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from spinemamba.instances import Instance, Instances
from spinemamba.labels import LABELS, NETWORK_LEVELS
from spinemamba.level_priors import STEP_MM, STEP_SHARE
from spinemamba.sequence import best_paths, forward_backward, path_score

NAMES: tuple[str, ...] = tuple(label.name for label in LABELS if label.name != "Coccyx")
"""Levels that a solution may use, from head to tail."""

INDEX = {name: k for k, name in enumerate(NAMES)}
SKIPPED_WHEN_USUAL = ("T13", "L6")


@dataclass(frozen=True)
class SolverOptions:
    """Weights, each with its reason.

    Attributes:
        evidence_weight: Below 1, because the voxels of neighbours share one look at the image.
        floor: Least probability that evidence gives: no network is ever certain.
        missed: How often a vertebra between two others was not found.
        spurious: How often an instance is no vertebra.
        distance_spread: The measured spread of distances times this: centres of whole
            vertebrae lie less evenly than annotated centres of bodies.
        ambiguous_ratio: The answer is ambiguous if its shift by one level is at least this
            likely, relative to it.
        certain: It is also ambiguous if half of the vertebrae are less certain than this.
    """

    evidence_weight: float = 0.8
    floor: float = 0.01
    missed: float = 0.01
    spurious: float = 0.005
    distance_spread: float = 2.0
    ambiguous_ratio: float = 0.1
    certain: float = 0.75


@dataclass(frozen=True)
class Labeling:
    """One way to name the instances.

    Attributes:
        names: Level of each instance, None if it is no vertebra.
        posterior: Probability among all ways.
    """

    names: tuple[str | None, ...]
    posterior: float


@dataclass(frozen=True)
class LevelSolution:
    """The names of a spine.

    Attributes:
        best: The k most likely labelings, best first.
        posteriors: For each instance the probability of the level that ``best[0]`` gives it.
        marginals: Probability of each of `NAMES` for each instance, (instances, 27).
        ambiguous: Whether a shift by one level is nearly as likely, or most names are uncertain.
    """

    best: tuple[Labeling, ...]
    posteriors: tuple[float, ...]
    marginals: np.ndarray
    ambiguous: bool


def assign_levels(
    instances: Instances, k: int = 5, options: SolverOptions | None = None
) -> LevelSolution:
    """Find the most likely names of the instances.

    Args:
        instances: Top to bottom.
        k: How many labelings to return.
        options: Weights.
    """
    options = options or SolverOptions()
    items = instances.items
    if not items:
        return LevelSolution((), (), np.zeros((0, len(NAMES))), False)
    emission = np.stack([_emission(item, options) for item in items])  # (n, 27)
    steps = _step_table(options)  # (27, 27)
    first = _solve(emission, [steps] * (len(items) - 1), 1, options)
    scale = _body_scale(items, first.best[0].names)
    pairs = [steps + _distance_term(a, b, scale, options) for a, b in _neighbours(items)]
    return _solve(emission, pairs, k, options)


def _emission(item: Instance, options: SolverOptions) -> np.ndarray:
    """Return the log evidence of each level for an instance, (27,)."""
    out = np.full(len(NAMES), -np.inf)
    if item.is_sacrum:
        out[INDEX["Sacrum"]] = 0.0
        return out
    for name, probability in zip(NETWORK_LEVELS, item.evidence, strict=True):
        out[INDEX[name]] = np.log(options.floor + (1 - options.floor) * probability)
    # T13 trains as T12 and L6 as L5: the network cannot tell them apart, the sequence does.
    out[INDEX["T13"]], out[INDEX["L6"]] = out[INDEX["T12"]], out[INDEX["L5"]]
    out[INDEX["Sacrum"]] = -np.inf
    return options.evidence_weight * out


def _step_table(options: SolverOptions) -> np.ndarray:
    """Return the log probability of each level being the next below each level, (27, 27)."""
    usual = [name for name in NAMES if name not in SKIPPED_WHEN_USUAL]
    table = np.zeros((len(NAMES), len(NAMES)))
    for a, b in itertools.pairwise(usual):
        table[INDEX[a], INDEX[b]] = 1.0
    table[INDEX["T13"], INDEX["L1"]] = table[INDEX["L6"], INDEX["Sacrum"]] = 1.0
    for (a, b), share in STEP_SHARE.items():
        table[INDEX[a]] *= 1 - share
        table[INDEX[a], INDEX[b]] = share
    missed = (table @ table) * options.missed
    with np.errstate(divide="ignore"):
        return np.log(table * (1 - options.missed) + missed)


def _neighbours(items: tuple[Instance, ...]) -> list[tuple[Instance, Instance]]:
    return list(itertools.pairwise(items))


def _distance_mm(a: Instance, b: Instance) -> float:
    return float(np.linalg.norm(np.subtract(a.centroid_lps_mm, b.centroid_lps_mm)))


def _distance_term(a: Instance, b: Instance, scale: float, options: SolverOptions) -> np.ndarray:
    """Return the log likelihood of a distance for each pair of levels, (27, 27).

    Relative to a broad normal distribution that stands for any pair, so that pairs without
    statistics are neither favoured nor ruled out. A cut vertebra's centre says nothing.
    """
    out = np.zeros((len(NAMES), len(NAMES)))
    if a.is_sacrum or b.is_sacrum or a.cut_sides or b.cut_sides:
        return out
    distance = _distance_mm(a, b)
    for (upper, lower), (mean, spread) in STEP_MM.items():
        wide = spread * options.distance_spread * scale
        z = (distance - mean * scale) / wide
        out[INDEX[upper], INDEX[lower]] = max(-0.5 * z**2, -4.0)
    return out


def _body_scale(items: tuple[Instance, ...], names: tuple[str | None, ...]) -> float:
    """Return the patient's size relative to the statistics, by the median of distances."""
    ratios = [
        _distance_mm(a, b) / STEP_MM[(x, y)][0]
        for (a, b), x, y in zip(_neighbours(items), names, names[1:], strict=False)
        if x and y and (x, y) in STEP_MM
    ]
    return float(np.clip(np.median(ratios), 0.5, 1.4)) if ratios else 1.0


def _solve(
    emission: np.ndarray, steps: list[np.ndarray], k: int, options: SolverOptions
) -> LevelSolution:
    """Run the dynamic programme; states 0..26 are real, 27..53 "no vertebra, last was"."""
    full = [_with_spurious(step, options) for step in steps]
    states = np.concatenate(
        [emission, np.full_like(emission, np.log(1 / len(NETWORK_LEVELS)))], axis=1
    )
    start = np.full(states.shape[1], -np.log(len(NAMES)))
    start[len(NAMES) :] += np.log(options.spurious)
    posterior, total = forward_backward(states, full, start)
    paths = best_paths(states, full, start, k)
    best = tuple(Labeling(_names(path), float(np.exp(score - total))) for path, score in paths)
    marginals = posterior[:, : len(NAMES)]
    chosen = [
        float(marginals[i, INDEX[name]]) if name else float(posterior[i, len(NAMES) :].sum())
        for i, name in enumerate(best[0].names)
    ]
    shifted = _shift_ratio(paths[0][0], states, full, start) >= options.ambiguous_ratio
    ambiguous = shifted or float(np.median(chosen)) < options.certain
    return LevelSolution(best, tuple(chosen), marginals, ambiguous)


def _with_spurious(step: np.ndarray, options: SolverOptions) -> np.ndarray:
    """Extend a step table by the states of instances that are no vertebra, (54, 54)."""
    n = len(NAMES)
    out = np.full((2 * n, 2 * n), -np.inf)
    out[:n, :n] = out[n:, :n] = step + np.log1p(-options.spurious)
    stay = np.where(np.eye(n, dtype=bool), np.log(options.spurious), -np.inf)
    out[:n, n:] = out[n:, n:] = stay
    return out


def _names(path: list[int]) -> tuple[str | None, ...]:
    return tuple(NAMES[state] if state < len(NAMES) else None for state in path)


def _shift_ratio(
    path: list[int], states: np.ndarray, steps: list[np.ndarray], start: np.ndarray
) -> float:
    """Return how likely the better shift by one level is, relative to the answer."""
    shifted = [s for s in (_shifted(path, 1), _shifted(path, -1)) if s is not None]
    scores = [path_score(s, states, steps, start) for s in shifted]
    best = path_score(path, states, steps, start)
    return float(np.exp(max(scores, default=-np.inf) - best))


def _shifted(path: list[int], by: int) -> list[int] | None:
    """Return a path with every level moved along the usual order, None if it runs out."""
    usual = [INDEX[name] for name in NAMES if name not in SKIPPED_WHEN_USUAL]
    n = len(NAMES)
    out = []
    for state in path:
        level = state % n
        place = usual.index(level) + by if level in usual else -1
        if not 0 <= place < len(usual):
            return None
        out.append(usual[place] + n * (state // n))
    return out
