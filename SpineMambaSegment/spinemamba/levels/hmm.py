"""Hidden Markov models: forward-backward algorithm and list Viterbi.

A sequence has n positions and S states.

- ``emissions`` (n, S): log likelihood of each state at each position;
- ``transitions`` (n - 1, S, S): weight (not its logarithm) of each state after each state;
- ``start`` (S,): log prior of the first state.
"""

from __future__ import annotations

import numpy as np


def forward_backward(
    emissions: np.ndarray, transitions: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the state posteriors and the log total weight under several hypotheses.

    A hypothesis is one of E sets of emissions with one of M sets of transitions.

    Args:
        emissions: (E, n, S).
        transitions: (M, n - 1, S, S).
        start: (S,).

    Returns:
        Posteriors (E, M, n, S), zero if the total weight is zero, and log total weights (E, M).
    """
    sets, count, width = emissions.shape
    # Products instead of sums of logs; the log scale of each position is accumulated in `total`.
    top = np.maximum(emissions.max(axis=-1, keepdims=True), -1e300)
    weights = np.exp(emissions - top)
    # With E as the last axis but one, a position takes one matrix product per set of transitions.
    forward, backward = np.zeros((2, count, len(transitions), sets, width))
    current = np.broadcast_to(np.exp(start) * weights[:, 0], forward.shape[1:])
    total = np.zeros((len(transitions), sets)) + top[..., 0].sum(axis=-1)
    for k in range(count):
        if k:
            current = current @ transitions[:, k - 1] * weights[:, k]
        current, log_sum = _scaled(current)
        total += log_sum
        forward[k] = current
    current = np.ones(forward.shape[1:])
    for k in reversed(range(count)):
        backward[k] = current
        if k:
            current, _ = _scaled((weights[:, k] * current) @ transitions[:, k - 1].swapaxes(-1, -2))
    both, _ = _scaled(forward * backward)
    return both.transpose(2, 1, 0, 3), total.T


def _scaled(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values normalised along the last axis (zeros stay zero), and the log of their sums."""
    size = values.sum(axis=-1)
    return values / np.where(size > 0, size, 1.0)[..., None], _log(size)


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
    """Return the log weight of a state sequence under each hypothesis, (E, M).

    Arguments are those of `forward_backward`.
    """
    nodes, positions = np.array(path), np.arange(len(path))
    emitted = emissions[:, positions, nodes].sum(axis=-1)
    moved = _log(transitions[:, positions[:-1], nodes[:-1], nodes[1:]]).sum(axis=-1)
    return start[nodes[0]] + emitted[:, None] + moved
