"""Name the vertebrae: the most likely sequence of levels from head to tail.

A semi-Markov model over the ordered instances. A state is the level of the last vertebra, and
whether the present instance is one at all. Steps to the next level are free in the usual way
and cost where a spine has 11 or 13 thoracic or 4 or 6 lumbar vertebrae, where vertebrae were
missed, or where an instance is none (`level_steps`). What the patient's size is, and whether all
evidence is off by one level together, is not known: both are summed over.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import logsumexp

from spinemamba.errors import UserError
from spinemamba.instances import Instance
from spinemamba.labels import NETWORK_LEVELS
from spinemamba.level_evidence import SHIFTS, emissions
from spinemamba.level_priors import SIZE_SPREAD, SIZES, STEP_SHARE
from spinemamba.level_steps import INDEX, NAMES, USUAL, StepOptions, distance_mm, step_tables
from spinemamba.sequence import best_paths, forward_backward, path_score


@dataclass(frozen=True)
class SolverOptions:
    """Weights, each with its reason.

    Attributes:
        evidence_weight: Below 1, because the voxels of neighbours share one look at the image.
        floor: Least probability that evidence gives: no network is ever certain.
        common_shift: How often all evidence is off by one level together, to either side.
        spurious: How often an instance is no vertebra.
        steps: Weights of steps from one vertebra to the next.
        ambiguous_ratio: The answer is ambiguous if its shift by one level is at least this
            likely, relative to it.
        certain: It is also ambiguous if half of the vertebrae are less certain than this.
    """

    evidence_weight: float = 0.8
    floor: float = 0.01
    common_shift: float = 0.05
    spurious: float = 0.005
    steps: StepOptions = field(default_factory=StepOptions)
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
    items: tuple[Instance, ...],
    pins: Mapping[int, str] | None = None,
    k: int = 5,
    options: SolverOptions | None = None,
) -> LevelSolution:
    """Find the most likely names of the instances.

    Args:
        items: Instances, top to bottom.
        pins: Levels that are certain, by the instance's number.
        k: How many labelings to return.
        options: Weights.

    Raises:
        UserError: If no spine can have the pinned levels.
    """
    options, pins = options or SolverOptions(), pins or {}
    if not items:
        return LevelSolution((), (), np.zeros((0, len(NAMES))), False)
    chain = _Chain(items, pins, options)
    paths = chain.ranked(k)
    names = [_name(state) for state in paths[0][0]]
    if any(name != pins.get(item.id, name) for name, item in zip(names, items, strict=True)):
        wanted = ", ".join(f"{name} for vertebra {number}" for number, name in pins.items())
        raise UserError(f"No spine can have these levels: {wanted}.", "Remove one of the pins.")
    marginals = chain.posterior[:, : len(NAMES)]
    chosen = tuple(
        float(marginals[i, INDEX[name]]) if name else float(1 - marginals[i].sum())
        for i, name in enumerate(names)
    )
    shifted = max((chain.posterior_of(path) for path in _shifts(paths[0][0])), default=0.0)
    return LevelSolution(
        tuple(Labeling(tuple(map(_name, path)), posterior) for path, posterior in paths[:k]),
        chosen,
        marginals,
        shifted >= options.ambiguous_ratio * paths[0][1]
        or float(np.median(chosen)) < options.certain,
    )


class _Chain:
    """The model of one spine.

    States 0..26 are levels; 27..53 are "no vertebra, the last one was". Worlds are all
    combinations of a common shift of the evidence and a size of the patient.
    """

    def __init__(
        self, items: tuple[Instance, ...], pins: Mapping[int, str], options: SolverOptions
    ):
        seen = emissions(items, pins, options.evidence_weight, options.floor)
        nothing = np.full_like(seen, np.log(1 / len(NETWORK_LEVELS)))
        self._states = np.concatenate([seen, nothing], axis=-1)[:, None]  # (3, 1, n, 54)
        self._steps = _steps(items, options)  # (12, n - 1, 54, 54)
        self._start = _start(options)
        posteriors, totals = forward_backward(self._states, self._steps, self._start)
        self._prior = _world_prior(options)
        self._worlds = self._prior + totals  # (3, 12), log
        self._total = logsumexp(self._worlds)
        share = np.exp(self._worlds - self._total)
        self.posterior = np.einsum("bs,bsnl->nl", share, posteriors)

    def posterior_of(self, path: tuple[int, ...]) -> float:
        """Return the probability of a sequence of states."""
        scores = self._prior + path_score(path, self._states, self._steps, self._start)
        return float(np.exp(logsumexp(scores) - self._total))

    def ranked(self, k: int) -> list[tuple[tuple[int, ...], float]]:
        """Return the best paths with their probabilities, the best first.

        Searched in the likeliest size of each shift; what is found counts in all worlds.
        """
        found: set[tuple[int, ...]] = set()
        for shift, size in enumerate(self._worlds.argmax(axis=1)):
            found.update(best_paths(self._states[shift, 0], self._steps[size], self._start, k))
        scored = [(path, self.posterior_of(path)) for path in found]
        return sorted(scored, key=lambda entry: (-entry[1], entry[0]))


def _steps(items: tuple[Instance, ...], options: SolverOptions) -> np.ndarray:
    """Return the log weights of the steps along a chain, (sizes, n - 1, 54, 54)."""
    n, pairs = len(NAMES), list(itertools.pairwise(items))
    # Below what is no vertebra the distance to the last one is not known: the last column.
    gaps_mm = np.array([*(distance_mm(a, b) for a, b in pairs), np.nan])
    tables = step_tables(gaps_mm, np.asarray(SIZES), options.steps)
    with np.errstate(divide="ignore"):
        steps = np.log(tables) + np.log1p(-options.spurious)
    out = np.full((len(SIZES), len(pairs), 2 * n, 2 * n), -np.inf)
    out[..., :n, :n], out[..., n:, :n] = steps[:, :-1], steps[:, -1:]
    stay = np.where(np.eye(n, dtype=bool), np.log(options.spurious), -np.inf)
    out[..., n:] = np.concatenate([stay, stay])
    return out


def _start(options: SolverOptions) -> np.ndarray:
    """Return the log prior of the first state; a rare level is rare at the top, too."""
    share = np.full(2 * len(NAMES), 1 / len(USUAL))
    for (_, lower), rare in STEP_SHARE.items():
        if lower not in USUAL:
            share[[INDEX[lower], INDEX[lower] + len(NAMES)]] *= rare
    share[len(NAMES) :] *= options.spurious
    return np.log(share)


def _world_prior(options: SolverOptions) -> np.ndarray:
    """Return the log prior of each shift of the evidence and size of the patient, (3, 12)."""
    shift = [options.common_shift if by else 1 - 2 * options.common_shift for by in SHIFTS]
    sizes = np.asarray(SIZES)
    # A closer grid must not count for more.
    size = np.gradient(sizes) * np.exp(-0.5 * ((sizes - 1) / SIZE_SPREAD) ** 2)
    return np.log(np.outer(shift, size / size.sum()))


def _name(state: int) -> str | None:
    return NAMES[state] if state < len(NAMES) else None


def _shifts(path: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return a path with every level moved up or down along the usual order, if there is room."""
    n = len(NAMES)
    out = []
    for by in (-1, 1):
        if any(NAMES[state % n] not in USUAL for state in path):
            continue
        places = [USUAL.index(NAMES[state % n]) + by for state in path]
        if all(0 <= place < len(USUAL) for place in places):
            moved = zip(path, places, strict=True)
            out.append(tuple(INDEX[USUAL[place]] + n * (state // n) for state, place in moved))
    return out
