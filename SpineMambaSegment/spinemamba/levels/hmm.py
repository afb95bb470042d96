"""Hidden Markov models: forward-backward algorithm and list Viterbi.

A sequence has n positions and S states.

- ``emissions`` (n, S): log likelihood of each state at each position;
- ``transitions`` (n - 1, S, S): weight (not its logarithm) of each state after each state;
- ``start`` (S,): log prior of the first state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Smoothed:
    """Result of `forward_backward` for each of M sets of transitions.

    Attributes:
        posterior: Posterior of each state at each position, (M, n, S); zero if the total is zero.
        log_total: Log of the total weight, (M,).
        plain: Posterior of each set of emissions for all positions, (M, E).
        switched: Posterior of each change between two sets before each position but the first,
            (M, changes, n - 1).
    """

    posterior: np.ndarray
    log_total: np.ndarray
    plain: np.ndarray
    switched: np.ndarray


def forward_backward(
    emissions: np.ndarray,
    transitions: np.ndarray,
    start: np.ndarray,
    prior: np.ndarray,
    changes: Sequence[tuple[int, int, float]] = (),
) -> Smoothed:
    """Return posteriors and total weights, summed over hypotheses about the emissions.

    A hypothesis is one of E sets of emissions for all positions, or one above and another one from
    a position on. A product of matrices per position covers all hypotheses.

    Args:
        emissions: (E, n, S).
        transitions: (M, n - 1, S, S).
        start: (S,).
        prior: Prior of each set for all positions, (E,); all positive.
        changes: Set above, set below, and the prior of a change at one given position.
    """
    # Products instead of sums of logs; the log scale of each position is accumulated in the total.
    top = np.maximum(emissions.max(axis=(0, 2)), -1e300)  # (n,)
    sets = _Sets(np.exp(emissions - top[:, None]), prior, changes)
    forward, moved, scales = sets.forward(transitions, start)
    backward = sets.backward(transitions)
    both = forward * backward  # (n, M, sets, S)
    size = both.sum(axis=(2, 3))  # (n, M)
    posterior = both.sum(axis=2) / _positive(size)[..., None]
    entered = sets.entered(moved) * sets.weights[sets.plain :].swapaxes(0, 1)[:, None]
    entered = (entered * backward[:, :, sets.plain :]).sum(axis=-1)  # (n, M, changes)
    switched = entered / _positive(scales * size)[..., None]
    return Smoothed(
        posterior.swapaxes(0, 1),
        _log(scales).sum(axis=0) + top.sum(),
        forward[-1, :, : sets.plain].sum(axis=-1),
        switched[1:].transpose(1, 2, 0),
    )


class _Sets:
    """Sets of emissions: each for all positions, then one for each change, after the change.

    Args:
        weights: Likelihoods, (E, n, S).
        prior: See `forward_backward`.
        changes: See `forward_backward`.
    """

    def __init__(
        self, weights: np.ndarray, prior: np.ndarray, changes: Sequence[tuple[int, int, float]]
    ):
        self.plain, self.prior = len(prior), prior
        self._above = np.array([above for above, _, _ in changes], int)
        below = [below for _, below, _ in changes]
        # The weights of a set contain its prior, which that of a change replaces.
        self._rates = np.array([rate / prior[above] for above, _, rate in changes])[:, None]
        self.weights = np.concatenate([weights, weights[below]]) if below else weights

    def entered(self, weights: np.ndarray) -> np.ndarray:
        """Return the weights (..., changes, S) that enter the sets of changes."""
        return self._rates * weights[..., self._above, :]

    def forward(
        self, transitions: np.ndarray, start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the weights of each position and all above it, up to a factor.

        Returns:
            Weights (n, M, sets, S); the same before the emission and without new changes; and the
            factors (n, M).
        """
        count = self.weights.shape[1]
        shape = (count, len(transitions), len(self.weights), self.weights.shape[-1])
        values, moved = np.zeros((2, *shape))
        scales = np.zeros(shape[:2])
        current = np.zeros(shape[1:])
        current[:, : self.plain] = self.prior[:, None] * np.exp(start)
        for k in range(count):
            if k:
                moved[k] = current @ transitions[:, k - 1]
                current = moved[k].copy()
                current[:, self.plain :] += self.entered(moved[k])
            current = current * self.weights[:, k]
            scales[k] = current.sum(axis=(1, 2))
            values[k] = current = current / _positive(scales[k])[:, None, None]
        return values, moved, scales

    def backward(self, transitions: np.ndarray) -> np.ndarray:
        """Return the weights of all below each position, up to a factor, (n, M, sets, S)."""
        count = self.weights.shape[1]
        out = np.ones((count, len(transitions), len(self.weights), self.weights.shape[-1]))
        for k in reversed(range(1, count)):
            seen = (self.weights[:, k] * out[k]) @ transitions[:, k - 1].swapaxes(-1, -2)
            np.add.at(seen, (slice(None), self._above), self._rates * seen[:, self.plain :])
            out[k - 1] = seen / _positive(seen.max(axis=(1, 2)))[:, None, None]
        return out


def _positive(scale: np.ndarray) -> np.ndarray:
    """Return scales to divide by; zeros stay zero when divided by 1."""
    return np.where(scale > 0, scale, 1.0)


def _log(weights: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(weights)


def best_paths(
    emissions: np.ndarray,
    transitions: np.ndarray,
    start: np.ndarray,
    k: int,
    keep: np.ndarray | None = None,
) -> list[tuple[int, ...]]:
    """Return the k most likely state sequences, most likely first (list Viterbi).

    Args:
        emissions: (n, S).
        transitions: (n - 1, S, S).
        start: (S,).
        k: Number of sequences.
        keep: Mask of the states to search at each position, bool (n, S); None for all. No sequence
            is more likely than the posterior of any of its states.
    """
    keep = np.ones(emissions.shape, bool) if keep is None else keep
    used = [np.flatnonzero(row) for row in keep]
    scores = np.full((len(used[0]), k), -np.inf)
    scores[:, 0] = (start + emissions[0])[used[0]]
    origins = []
    steps = zip(transitions, emissions[1:], used, used[1:], strict=False)
    for transition, emission, upper, lower in steps:
        log_transition = _log(transition[np.ix_(upper, lower)])
        candidates = (scores[:, :, None] + log_transition[:, None, :]).reshape(-1, len(lower))
        order = np.argsort(-candidates, axis=0, kind="stable")[:k]  # (k, lower)
        scores = (np.take_along_axis(candidates, order, axis=0) + emission[lower]).T
        origins.append(order.T)
    return _traced(scores, origins, used, k)


def _traced(
    scores: np.ndarray, origins: list[np.ndarray], used: list[np.ndarray], k: int
) -> list[tuple[int, ...]]:
    """Return the sequences of the k best final scores (states of the last position, k)."""
    flat, paths = scores.ravel(), []
    for end in np.argsort(-flat, kind="stable")[:k]:
        if not np.isfinite(flat[end]):
            continue
        entry, path = int(end), [int(used[-1][end // k])]
        for origin, kept_states in zip(reversed(origins), reversed(used[:-1]), strict=True):
            entry = int(origin[entry // k, entry % k])
            path.append(int(kept_states[entry // k]))
        paths.append(tuple(path[::-1]))
    return paths


def path_score(
    path: tuple[int, ...], emissions: np.ndarray, transitions: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Return the log weight of a state sequence for each set of transitions, (M,).

    Args:
        path: State at each position.
        emissions: (n, S).
        transitions: (M, n - 1, S, S).
        start: (S,).
    """
    nodes, positions = np.array(path), np.arange(len(path))
    moved = _log(transitions[:, positions[:-1], nodes[:-1], nodes[1:]]).sum(axis=-1)
    return start[nodes[0]] + emissions[positions, nodes].sum() + moved
