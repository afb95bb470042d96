"""Hidden Markov model of one spine.

States of an instance, with N = 27 levels:

- 0 to 26 (`SINGLE`): a vertebra of this level;
- 27 to 53 (`NOT_VERTEBRA`): not a vertebra; the level is that of the last vertebra above;
- 54 to 80 (`MERGED`): two merged vertebrae, this level and the next;
- 81 (`ABOVE_FIRST`): not a vertebra, and above the first one, such as a piece of the skull base.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from spinemamba.anatomy.statistics import BODY_SIZE_SPREAD, BODY_SIZES, STEP_MM, STEP_SHARE
from spinemamba.instances.find import Instance
from spinemamba.levels.emissions import (
    MERGED_LEVELS,
    SHIFTS,
    EmissionOptions,
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
_STATES = 3 * N + 1
_LOWER_LEVEL = np.array([MERGED_LEVELS.get(k, k) for k in range(N)])
"""Index of the lower level of each merged state."""

Path = tuple[int, ...]


@dataclass(frozen=True)
class LevelOptions:
    """Weights, each with its reason.

    Attributes:
        common_shift: Prior probability that all level probabilities are shifted by one level, for
            each direction.
        partial_shift: The same for the level probabilities above, and for those below, any one
            vertebra. Errors of neighbours are alike: they have the same surroundings.
        spurious: Prior probability that an instance between two vertebrae is not a vertebra.
        at_end: The same for the first and the last instance, which may be pieces of ribs,
            shoulders or pelvis.
        skull: The same for an instance above C1, which touches the base of the skull.
        double: Prior probability that an instance is two merged vertebrae.
        pinned_non_vertebra: Factor of the prior of "not a vertebra" once the user has pinned a
            level: a user who pins has looked at the spine and would have deleted a false instance.
        least_shift_posterior: Shifts with a lower posterior are not searched for the best
            labelings.
        least_state_posterior: States of an instance with a lower posterior are not searched; no
            likely labeling contains them.
        emissions: Options of the emissions.
        transitions: Options of the transitions.
    """

    common_shift: float = 0.05
    partial_shift: float = 0.05
    spurious: float = 0.01
    at_end: float = 0.03
    skull: float = 0.2
    double: float = 0.01
    pinned_non_vertebra: float = 1e-4
    least_shift_posterior: float = 0.01
    least_state_posterior: float = 1e-6
    emissions: EmissionOptions = field(default_factory=EmissionOptions)
    transitions: TransitionOptions = field(default_factory=TransitionOptions)

    @property
    def single(self) -> float:
        """Prior probability that an instance is one vertebra."""
        return 1 - self.spurious - self.double


_OF_MR = LevelOptions(common_shift=0.1)
"""Weights for MR, chosen on parts of painted and of real training volumes: with the usual prior of
a common shift, one of four painted ones with a probability of 0.9 was wrong."""


def level_options(modality: str) -> LevelOptions:
    """Return the weights for a modality, "ct" or "mr".

    In MR, level probabilities are means over voxels of networks that hardly see ribs. Without the
    sacrum in view, they are often shifted by one level.
    """
    return _OF_MR if modality == "mr" else LevelOptions()


class SpineModel:
    """Probabilities of all labelings of one spine.

    Latent hypotheses are all combinations of a shift of the level probabilities, of all instances
    or of those above or below one, and a body size. All results are summed over them.

    Args:
        items: Instances from top to bottom; at least one.
        pins: Fixed levels by instance number.
        options: Weights.

    Attributes:
        posterior: Posterior probability of each state of each instance, (n, 82).
        body_size: Posterior mean of the body size.
    """

    def __init__(self, items: tuple[Instance, ...], pins: Mapping[int, str], options: LevelOptions):
        single = emissions(items, pins, options.emissions)  # (3, n, 27)
        merged = merged_emissions(single, items, pins, options.emissions)
        non_vertebra = non_vertebra_emissions(single, items, options.emissions)
        if pins:
            non_vertebra = non_vertebra + np.log(options.pinned_non_vertebra)
        self._options = options
        states = [single, non_vertebra, merged, non_vertebra[..., :1]]
        self._emissions = np.concatenate(states, axis=-1)  # (3, n, 82)
        self._transitions = _transitions(items, options)  # (sizes, n - 1, 82, 82)
        self._start = _start(options)
        self._whole, self._partial = _shift_prior(len(items), options)
        self._sizes = _size_prior()
        smoothed = forward_backward(
            self._emissions, self._transitions, self._start, self._whole, self._partial
        )
        by_size = np.log(self._sizes) + smoothed.log_total
        self._total = np.logaddexp.reduce(by_size)
        share = np.exp(by_size - self._total)  # (sizes,)
        self.body_size = float(share @ np.asarray(BODY_SIZES))
        self.posterior = np.einsum("s,snl->nl", share, smoothed.posterior)  # (n, 82)
        # Posterior of each shift and size: of all instances, and of those beside each border.
        self._whole_share = share[:, None] * smoothed.plain  # (sizes, 3)
        self._partial_share = share[:, None, None] * smoothed.switched  # (sizes, 4, n - 1)

    def posterior_of(self, path: Path) -> float:
        """Return the posterior probability of a state sequence."""
        nodes, rows = np.array(path), np.arange(len(path))
        seen = self._emissions[:, rows, nodes]  # (3, n)
        shifted = list(np.log(self._whole) + seen.sum(axis=1))
        for above, below, prior in self._partial:
            head, tail = seen[above].cumsum()[:-1], seen[below][::-1].cumsum()[::-1][1:]
            shifted.extend(np.log(prior) + head + tail)
        moved = path_score(path, np.zeros_like(self._emissions[0]), self._transitions, self._start)
        sizes = np.logaddexp.reduce(np.log(self._sizes) + moved)
        return float(np.exp(np.logaddexp.reduce(shifted) + sizes - self._total))

    def ranked(self, k: int) -> list[tuple[Path, float]]:
        """Return the most likely paths with their posterior probabilities, most likely first.

        The search uses the most likely body size of each shift. The posteriors are summed over all
        hypotheses.

        Args:
            k: Number of paths to search for, for each shift.
        """
        candidates: set[Path] = set()
        keep = self.posterior >= self._options.least_state_posterior
        for seen, size in self._likely_shifts():
            model = (seen, self._transitions[size], self._start)
            candidates.update(best_paths(*model, k, keep))
        scored = [(path, self.posterior_of(path)) for path in candidates]
        return sorted(scored, key=lambda entry: (-entry[1], entry[0]))

    def _likely_shifts(self) -> Iterator[tuple[np.ndarray, int]]:
        """Yield the emissions (n, 82) of each likely shift, and its most likely body size."""
        least = self._options.least_shift_posterior
        for shift in np.flatnonzero(self._whole_share.sum(axis=0) > least):
            yield self._emissions[shift], int(self._whole_share[:, shift].argmax())
        for change, (above, below, _) in enumerate(self._partial):
            share = self._partial_share[:, change]  # (sizes, n - 1)
            if share.sum() > least:
                size, border = np.unravel_index(share.argmax(), share.shape)
                first = np.arange(len(self.posterior)) > border
                yield (
                    np.where(first[:, None], self._emissions[below], self._emissions[above]),
                    int(size),
                )


def _transitions(items: tuple[Instance, ...], options: LevelOptions) -> np.ndarray:
    """Return the transition weights along the spine, (sizes, n - 1, 82, 82)."""
    pairs = list(itertools.pairwise(items))
    gaps_mm = np.array([distance_mm(a, b) for a, b in pairs])
    sizes, half_mm = np.asarray(BODY_SIZES), _half_steps_mm()
    # The centre of a merged instance is half a step below its upper and above its lower level.
    above_mm = np.full(N, np.nan)
    above_mm[_LOWER_LEVEL] = half_mm
    kinds = ((SINGLE, options.single, 0.0), (MERGED, options.double, half_mm))
    out = np.zeros((len(sizes), len(pairs), _STATES, _STATES))
    for kind, rate, after_mm in kinds:
        args = (gaps_mm, sizes, options.transitions)
        out[..., SINGLE, kind] = rate * transition_tables(*args, below_mm=after_mm)
        # After a non-vertebra, the distance to the last vertebra is not known.
        out[..., NOT_VERTEBRA, kind] = rate * transition_tables(
            np.array([np.nan]), sizes, options.transitions
        )
        doubled = transition_tables(*args, above_mm=above_mm, below_mm=after_mm)
        out[..., MERGED, kind] = rate * doubled[..., _LOWER_LEVEL, :]
        out[..., ABOVE_FIRST, kind] = rate * _first_below_non_vertebra(options)
    out[..., SINGLE, SINGLE] *= volume_transitions(items)
    _set_non_vertebra_transitions(out, items, options)
    return out


def _set_non_vertebra_transitions(
    transitions: np.ndarray, items: tuple[Instance, ...], options: LevelOptions
) -> None:
    """Set the transition weights to states that are not vertebrae, in place."""
    stay = np.eye(N)
    transitions[..., SINGLE, NOT_VERTEBRA] = transitions[..., NOT_VERTEBRA, NOT_VERTEBRA] = (
        options.spurious * stay
    )
    transitions[..., MERGED, NOT_VERTEBRA] = options.spurious * stay[_LOWER_LEVEL]
    transitions[..., ABOVE_FIRST, ABOVE_FIRST] = options.spurious
    # The sacrum is always last, so a piece of the pelvis may precede it.
    last = len(items) - 1 - items[-1].is_sacrum
    if last > 0:
        transitions[:, last - 1, :, NOT_VERTEBRA] *= options.at_end / options.spurious


def _half_steps_mm() -> np.ndarray:
    """Return half of the mean distance from each level to the next, (27,); NaN if unknown."""
    half_mm = np.full(N, np.nan)
    for upper, lower in MERGED_LEVELS.items():
        half_mm[upper] = STEP_MM[NAMES[upper], NAMES[lower]][0] / 2
    return half_mm


def _first_levels() -> np.ndarray:
    """Return the prior of each level as the first one, (27,); lower for T13 and L6."""
    share = np.full(N, 1 / len(USUAL))
    for (_, lower), share_of_rare in STEP_SHARE.items():
        if lower not in USUAL:
            share[INDEX[lower]] *= share_of_rare
    return share


def _first_below_non_vertebra(options: LevelOptions) -> np.ndarray:
    """Return the weight of each level as the first vertebra below a non-vertebra, (27,)."""
    rate = np.full(N, options.at_end)
    rate[INDEX["C1"]] = options.skull
    # Divided by the probability that `_start` gives to a non-vertebra at the top.
    return _first_levels() * rate / options.spurious


def _start(options: LevelOptions) -> np.ndarray:
    """Return the log prior of the first state, (82,)."""
    out = np.zeros(_STATES)
    out[SINGLE], out[MERGED] = options.single * _first_levels(), options.double * _first_levels()
    out[ABOVE_FIRST] = options.spurious
    with np.errstate(divide="ignore"):
        return np.log(out)


def _shift_prior(
    count: int, options: LevelOptions
) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Return the priors of shifts of all instances, (3,), and of those above or below each border.

    The latter are index in `SHIFTS` above and below, and prior for each border.
    """
    partial = options.partial_shift / max(count - 1, 1)
    changes = [(a, b, partial) for by in (1, 2) for a, b in ((by, 0), (0, by))] if count > 1 else []
    whole = np.array([options.common_shift if by else 0.0 for by in SHIFTS])
    whole[0] = 1 - whole.sum() - options.partial_shift * len(changes)
    return whole, changes


def _size_prior() -> np.ndarray:
    """Return the prior of each body size, (9,)."""
    sizes = np.asarray(BODY_SIZES)
    # The sizes are not equally spaced, so each is weighted by its spacing.
    size = np.gradient(sizes) * np.exp(-0.5 * ((sizes - 1) / BODY_SIZE_SPREAD) ** 2)
    return size / size.sum()
