"""The model of one spine: what its instances may be, and how one follows the other.

An instance is a vertebra, or none, or two that the networks did not separate. States 0..26 are
levels; 27..53 are "none, and the last one was"; 54..80 are "this level and the next in one".
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import logsumexp

from spinemamba.instances import Instance
from spinemamba.level_evidence import DOUBLES, SHIFTS, double_evidence, emissions, no_evidence
from spinemamba.level_priors import SIZE_SPREAD, SIZES, STEP_MM, STEP_SHARE
from spinemamba.level_steps import INDEX, NAMES, USUAL, StepOptions, distance_mm, step_tables
from spinemamba.sequence import best_paths, forward_backward, path_score

N = len(NAMES)
ONE, NONE, TWO = slice(0, N), slice(N, 2 * N), slice(2 * N, 3 * N)
Path = tuple[int, ...]

WORTH_SEARCHING = 0.01
"""Worlds less likely than this are not searched for the best labelings."""


@dataclass(frozen=True)
class SolverOptions:
    """Weights, each with its reason.

    Attributes:
        evidence_weight: Below 1, because the voxels of neighbours share one look at the image.
        floor: Least probability that evidence gives: no network is ever certain.
        common_shift: How often all evidence is off by one level together, to either side.
        spurious: How often an instance is no vertebra.
        double: How often an instance is two vertebrae.
        steps: Weights of steps from one vertebra to the next.
        ambiguous_ratio: The answer is ambiguous if its shift by one level is at least this
            likely, relative to it.
        certain: It is also ambiguous if all names together are less certain than this.
        certain_alone: The same where no anchor is in view: neither C1, C2, the sacrum nor a pin.
            On real chains a stricter rule than with an anchor finds 86 % and more of the wrong
            names instead of 64 %, for 10 to 30 % more of the right ones called ambiguous.
    """

    evidence_weight: float = 0.8
    floor: float = 0.01
    common_shift: float = 0.05
    spurious: float = 0.01
    double: float = 0.01
    steps: StepOptions = field(default_factory=StepOptions)
    ambiguous_ratio: float = 0.1
    certain: float = 0.75
    certain_alone: float = 0.9


class Chain:
    """The probabilities of all ways to name the instances of one spine.

    Worlds are all combinations of a common shift of the evidence and a size of the patient; what
    is asked for is summed over them.

    Args:
        items: Instances, top to bottom; at least one.
        pins: Levels that are certain, by the instance's number.
        options: Weights.
    """

    def __init__(
        self, items: tuple[Instance, ...], pins: Mapping[int, str], options: SolverOptions
    ):
        seen = emissions(items, pins, options.evidence_weight, options.floor)  # (3, n, 27)
        nothing, two = no_evidence(seen, items), double_evidence(seen, items, pins)
        self._states = np.concatenate([seen, nothing, two], axis=-1)[:, None]  # (3, 1, n, 81)
        self._moves = _moves(items, options)  # (sizes, n - 1, 81, 81)
        self._start = _start(options)
        posteriors, totals = forward_backward(self._states, self._moves, self._start)
        self._prior = _world_prior(options)
        worlds = self._prior + totals  # (3, sizes), log
        self._total = logsumexp(worlds)
        self._share = np.exp(worlds - self._total)
        self.posterior = np.einsum("bs,bsnl->nl", self._share, posteriors)  # (n, 81)

    def posterior_of(self, path: Path) -> float:
        """Return the probability of a sequence of states."""
        scores = self._prior + path_score(path, self._states, self._moves, self._start)
        return float(np.exp(logsumexp(scores) - self._total))

    def ranked(self, k: int) -> list[tuple[Path, float]]:
        """Return the best paths with their probabilities, the best first.

        Searched in the likeliest size of each shift; what is found counts in all worlds.
        """
        found: set[Path] = set()
        for shift, size in enumerate(self._share.argmax(axis=1)):
            if self._share[shift].sum() > WORTH_SEARCHING:
                found.update(best_paths(self._states[shift, 0], self._moves[size], self._start, k))
        scored = [(path, self.posterior_of(path)) for path in found]
        return sorted(scored, key=lambda entry: (-entry[1], entry[0]))


def _moves(items: tuple[Instance, ...], options: SolverOptions) -> np.ndarray:
    """Return the weights of the steps along a chain, (sizes, n - 1, 81, 81)."""
    pairs = list(itertools.pairwise(items))
    gaps_mm = np.array([distance_mm(a, b) for a, b in pairs])
    sizes, half_mm = np.asarray(SIZES), _half_steps_mm()
    # The centre of two in one lies half a step below the upper and above the lower level.
    below = np.array([DOUBLES.get(k, k) for k in range(N)])
    above_mm = np.full(N, np.nan)
    above_mm[below] = half_mm
    kinds = ((ONE, 1 - options.spurious - options.double, 0.0), (TWO, options.double, half_mm))
    out = np.zeros((len(sizes), len(pairs), 3 * N, 3 * N))
    for kind, rate, after_mm in kinds:
        args = (gaps_mm, sizes, options.steps)
        out[..., ONE, kind] = rate * step_tables(*args, below_mm=after_mm)
        # Below what is no vertebra the distance to the last one is not known.
        out[..., NONE, kind] = rate * step_tables(np.array([np.nan]), sizes, options.steps)
        doubled = step_tables(*args, above_mm=above_mm, below_mm=after_mm)
        out[..., TWO, kind] = rate * doubled[..., below, :]
    stay = options.spurious * np.eye(N)
    out[..., ONE, NONE] = out[..., NONE, NONE] = stay
    out[..., TWO, NONE] = stay[below]
    return out


def _half_steps_mm() -> np.ndarray:
    """Return half of the distance from each level to the next, (27,); NaN if not known."""
    half_mm = np.full(N, np.nan)
    for upper, lower in DOUBLES.items():
        half_mm[upper] = STEP_MM[NAMES[upper], NAMES[lower]][0] / 2
    return half_mm


def _start(options: SolverOptions) -> np.ndarray:
    """Return the log prior of the first state; a rare level is rare at the top, too."""
    share = np.full(N, 1 / len(USUAL))
    for (_, lower), rare in STEP_SHARE.items():
        if lower not in USUAL:
            share[INDEX[lower]] *= rare
    rates = (1 - options.spurious - options.double, options.spurious, options.double)
    return np.log(np.concatenate([rate * share for rate in rates]))


def _world_prior(options: SolverOptions) -> np.ndarray:
    """Return the log prior of each shift of the evidence and size of the patient, (3, sizes)."""
    shift = [options.common_shift if by else 1 - 2 * options.common_shift for by in SHIFTS]
    sizes = np.asarray(SIZES)
    # A closer grid must not count for more.
    size = np.gradient(sizes) * np.exp(-0.5 * ((sizes - 1) / SIZE_SPREAD) ** 2)
    return np.log(np.outer(shift, size / size.sum()))
