"""The model of one spine: what its instances may be, and how one follows the other.

An instance is a vertebra, or none, or two that the networks did not separate. States 0..26 are
levels; 27..53 are "none, and the last one was"; 54..80 are "this level and the next in one"; 81 is
"none, and none above": the base of a skull lies above the first vertebra there is.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spinemamba.anatomy.statistics import BODY_SIZE_SPREAD, BODY_SIZES, STEP_MM, STEP_SHARE
from spinemamba.instances.find import Instance
from spinemamba.levels.emissions import (
    MERGED_LEVELS,
    SHIFTS,
    emissions,
    merged_emissions,
    non_vertebra_emissions,
    volume_transitions,
)
from spinemamba.levels.hmm import best_paths, forward_backward, path_score
from spinemamba.levels.transitions import (
    INDEX,
    NAMES,
    USUAL,
    TransitionOptions,
    distance_mm,
    transition_tables,
)

N = len(NAMES)
SINGLE, NOT_VERTEBRA, MERGED = slice(0, N), slice(N, 2 * N), slice(2 * N, 3 * N)
ABOVE_FIRST = 3 * N
STATES = 3 * N + 1
LOWER_LEVEL = np.array([MERGED_LEVELS.get(k, k) for k in range(N)])
"""Lower level of each that is two vertebrae in one."""

Path = tuple[int, ...]

LEAST_HYPOTHESIS_POSTERIOR = 0.01
"""Worlds less likely than this are not searched for the best labelings."""

PINNED_NON_VERTEBRA_FACTOR = 1e-4
"""How often, relative to else, an instance is none where a person has pinned a level: who does has
looked at the spine, and would have deleted it."""

LEAST_STATE_POSTERIOR = 1e-6
"""States of a vertebra less likely than this are in no labeling worth telling."""


@dataclass(frozen=True)
class SolverOptions:
    """Weights, each with its reason.

    Attributes:
        evidence_weight: Below 1, because the voxels of neighbours share one look at the image.
        floor: Least probability that evidence gives: no network is ever certain.
        common_shift: How often all evidence is off by one level together, to either side.
        spurious: How often an instance between two vertebrae is none.
        at_end: The same of the first and of the last instance: pieces of ribs, shoulders and
            pelvis lie there.
        skull: The same of an instance above C1, which touches the base of the skull.
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
    at_end: float = 0.03
    skull: float = 0.2
    double: float = 0.01
    steps: TransitionOptions = field(default_factory=TransitionOptions)
    ambiguous_ratio: float = 0.1
    certain: float = 0.75
    certain_alone: float = 0.9

    @property
    def single(self) -> float:
        """How often an instance is one vertebra."""
        return 1 - self.spurious - self.double


class SpineModel:
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
        nothing, two = non_vertebra_emissions(seen, items), merged_emissions(seen, items, pins)
        if pins:
            nothing = nothing + np.log(PINNED_NON_VERTEBRA_FACTOR)
        states = [seen, nothing, two, nothing[..., :1]]
        self._states = np.concatenate(states, axis=-1)  # (3, n, 82)
        self._moves = _transitions(items, options)  # (sizes, n - 1, 82, 82)
        self._start = _start(options)
        posteriors, totals = forward_backward(self._states, self._moves, self._start)
        self._prior = _hypothesis_prior(options)
        worlds = self._prior + totals  # (3, sizes), log
        self._total = np.logaddexp.reduce(worlds, axis=None)
        self._share = np.exp(worlds - self._total)
        self.posterior = np.einsum("bs,bsnl->nl", self._share, posteriors)  # (n, 82)

    def posterior_of(self, path: Path) -> float:
        """Return the probability of a sequence of states."""
        scores = self._prior + path_score(path, self._states, self._moves, self._start)
        return float(np.exp(np.logaddexp.reduce(scores, axis=None) - self._total))

    def ranked(self, k: int, least: float = LEAST_STATE_POSTERIOR) -> list[tuple[Path, float]]:
        """Return the best paths with their probabilities, the best first.

        Searched in the likeliest size of each shift; what is found counts in all worlds.

        Args:
            k: How many to look for in each.
            least: States of a vertebra that are less likely are not followed.
        """
        found: set[Path] = set()
        keep = self.posterior >= least
        for shift, size in enumerate(self._share.argmax(axis=1)):
            if self._share[shift].sum() > LEAST_HYPOTHESIS_POSTERIOR:
                world = (self._states[shift], self._moves[size], self._start)
                found.update(best_paths(*world, k, keep))
        scored = [(path, self.posterior_of(path)) for path in found]
        return sorted(scored, key=lambda entry: (-entry[1], entry[0]))


def _transitions(items: tuple[Instance, ...], options: SolverOptions) -> np.ndarray:
    """Return the weights of the steps along a chain, (sizes, n - 1, 82, 82)."""
    pairs = list(itertools.pairwise(items))
    gaps_mm = np.array([distance_mm(a, b) for a, b in pairs])
    sizes, half_mm = np.asarray(BODY_SIZES), _half_steps_mm()
    # The centre of two in one lies half a step below the upper and above the lower level.
    above_mm = np.full(N, np.nan)
    above_mm[LOWER_LEVEL] = half_mm
    kinds = ((SINGLE, options.single, 0.0), (MERGED, options.double, half_mm))
    out = np.zeros((len(sizes), len(pairs), STATES, STATES))
    for kind, rate, after_mm in kinds:
        args = (gaps_mm, sizes, options.steps)
        out[..., SINGLE, kind] = rate * transition_tables(*args, below_mm=after_mm)
        # Below what is no vertebra the distance to the last one is not known.
        out[..., NOT_VERTEBRA, kind] = rate * transition_tables(
            np.array([np.nan]), sizes, options.steps
        )
        doubled = transition_tables(*args, above_mm=above_mm, below_mm=after_mm)
        out[..., MERGED, kind] = rate * doubled[..., LOWER_LEVEL, :]
        out[..., ABOVE_FIRST, kind] = rate * _first_below_non_vertebra(options)
    out[..., SINGLE, SINGLE] *= volume_transitions(items)
    _set_non_vertebra_transitions(out, items, options)
    return out


def _set_non_vertebra_transitions(
    moves: np.ndarray, items: tuple[Instance, ...], options: SolverOptions
) -> None:
    """Set the weights of the steps to what is no vertebra, in place."""
    stay = np.eye(N)
    moves[..., SINGLE, NOT_VERTEBRA] = moves[..., NOT_VERTEBRA, NOT_VERTEBRA] = (
        options.spurious * stay
    )
    moves[..., MERGED, NOT_VERTEBRA] = options.spurious * stay[LOWER_LEVEL]
    moves[..., ABOVE_FIRST, ABOVE_FIRST] = options.spurious
    # A piece of the pelvis comes before the sacrum, which is always the last.
    last = len(items) - 1 - items[-1].is_sacrum
    if last > 0:
        moves[:, last - 1, :, NOT_VERTEBRA] *= options.at_end / options.spurious


def _half_steps_mm() -> np.ndarray:
    """Return half of the distance from each level to the next, (27,); NaN if not known."""
    half_mm = np.full(N, np.nan)
    for upper, lower in MERGED_LEVELS.items():
        half_mm[upper] = STEP_MM[NAMES[upper], NAMES[lower]][0] / 2
    return half_mm


def _first_levels() -> np.ndarray:
    """Return how often each level is the first, (27,); a rare level is rare at the top, too."""
    share = np.full(N, 1 / len(USUAL))
    for (_, lower), rare in STEP_SHARE.items():
        if lower not in USUAL:
            share[INDEX[lower]] *= rare
    return share


def _first_below_non_vertebra(options: SolverOptions) -> np.ndarray:
    """Return the weight of each level as the first vertebra below what is none, (27,)."""
    rate = np.full(N, options.at_end)
    rate[INDEX["C1"]] = options.skull
    # `_start` has counted the first piece that is none as one between others.
    return _first_levels() * rate / options.spurious


def _start(options: SolverOptions) -> np.ndarray:
    """Return the log prior of the first state."""
    out = np.zeros(STATES)
    out[SINGLE], out[MERGED] = options.single * _first_levels(), options.double * _first_levels()
    out[ABOVE_FIRST] = options.spurious
    with np.errstate(divide="ignore"):
        return np.log(out)


def _hypothesis_prior(options: SolverOptions) -> np.ndarray:
    """Return the log prior of each shift of the evidence and size of the patient, (3, sizes)."""
    shift = [options.common_shift if by else 1 - 2 * options.common_shift for by in SHIFTS]
    sizes = np.asarray(BODY_SIZES)
    # A closer grid must not count for more.
    size = np.gradient(sizes) * np.exp(-0.5 * ((sizes - 1) / BODY_SIZE_SPREAD) ** 2)
    return np.log(np.outer(shift, size / size.sum()))
