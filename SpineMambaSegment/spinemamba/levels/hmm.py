"""The most likely state sequences of a chain: forward-backward and list Viterbi.

``states`` (n, S) is the log evidence of each state at each place, ``moves`` (n - 1, S, S) the
weight (no logarithm) of each state after each state, ``start`` (S,) the first state's log prior.
"""

from __future__ import annotations

import numpy as np


def forward_backward(
    states: np.ndarray, moves: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the posteriors of the states, and the log of the total weight, in many worlds.

    A world is one of E kinds of evidence with one of M kinds of moves.

    Args:
        states: (E, n, S).
        moves: (M, n - 1, S, S).
        start: (S,).

    Returns:
        Posteriors (E, M, n, S), zero where the total is zero; logs of the totals (E, M).
    """
    kinds, count, width = states.shape
    # Products instead of sums of logs; what is lost by scaling each place is added up apart.
    top = np.maximum(states.max(axis=-1, keepdims=True), -1e300)
    weights = np.exp(states - top)
    # Evidence last but one, so that a place takes one product of matrices for each kind of moves.
    forward, backward = np.zeros((2, count, len(moves), kinds, width))
    now = np.broadcast_to(np.exp(start) * weights[:, 0], forward.shape[1:])
    total = np.zeros((len(moves), kinds)) + top[..., 0].sum(axis=-1)
    for k in range(count):
        if k:
            now = now @ moves[:, k - 1] * weights[:, k]
        now, size = _scaled(now)
        total += size
        forward[k] = now
    now = np.ones(forward.shape[1:])
    for k in reversed(range(count)):
        backward[k] = now
        if k:
            now, _ = _scaled((weights[:, k] * now) @ moves[:, k - 1].swapaxes(-1, -2))
    both, _ = _scaled(forward * backward)
    return both.transpose(2, 1, 0, 3), total.T


def _scaled(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values with sum 1 along the last axis, zero where all are, and the log of the sum."""
    size = values.sum(axis=-1)
    return values / np.where(size > 0, size, 1.0)[..., None], _log(size)


def _log(weights: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(weights)


def best_paths(
    states: np.ndarray,
    moves: np.ndarray,
    start: np.ndarray,
    k: int,
    keep: np.ndarray | None = None,
) -> list[tuple[int, ...]]:
    """Return the k best state sequences, the best first (list Viterbi).

    Args:
        states: (n, S).
        moves: (n - 1, S, S).
        start: (S,).
        k: How many.
        keep: Which states may be used at each place, bool (n, S); None for all. A state whose
            posterior is tiny is in no sequence that is more likely than that.
    """
    keep = np.ones(states.shape, bool) if keep is None else keep
    used = [np.flatnonzero(row) for row in keep]
    scores = np.full((len(used[0]), k), -np.inf)
    scores[:, 0] = (start + states[0])[used[0]]
    origins = []
    for step, emission, upper, lower in zip(moves, states[1:], used, used[1:], strict=False):
        move = _log(step[np.ix_(upper, lower)])
        candidates = (scores[:, :, None] + move[:, None, :]).reshape(-1, len(lower))
        order = np.argsort(-candidates, axis=0, kind="stable")[:k]  # (k, lower)
        scores = (np.take_along_axis(candidates, order, axis=0) + emission[lower]).T
        origins.append(order.T)
    return _traced(scores, origins, used, k)


def _traced(
    scores: np.ndarray, origins: list[np.ndarray], used: list[np.ndarray], k: int
) -> list[tuple[int, ...]]:
    """Return the sequences behind the k best final scores (used[-1], k)."""
    flat, paths = scores.ravel(), []
    for end in np.argsort(-flat, kind="stable")[:k]:
        if not np.isfinite(flat[end]):
            continue
        place, path = int(end), [int(used[-1][end // k])]
        for origin, states in zip(reversed(origins), reversed(used[:-1]), strict=True):
            place = int(origin[place // k, place % k])
            path.append(int(states[place // k]))
        paths.append(tuple(path[::-1]))
    return paths


def path_score(
    path: tuple[int, ...], states: np.ndarray, moves: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Return the log weight of one state sequence in each world, (E, M), as `forward_backward`."""
    nodes, places = np.array(path), np.arange(len(path))
    seen = states[:, places, nodes].sum(axis=-1)
    went = _log(moves[:, places[:-1], nodes[:-1], nodes[1:]]).sum(axis=-1)
    return start[nodes[0]] + seen[:, None] + went
