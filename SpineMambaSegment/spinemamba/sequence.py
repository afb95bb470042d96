"""The most likely state sequences of a chain: forward-backward and list Viterbi.

``states`` (n, S) is the log evidence of each state at each place, ``moves`` (n - 1, S, S) the
weight (no logarithm) of each state after each state, ``start`` (S,) the first state's log prior.
"""

from __future__ import annotations

import numpy as np


def forward_backward(
    states: np.ndarray, moves: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the posteriors of the states, and the log of the total weight.

    All arrays may have further axes in front, which broadcast: one chain under many assumptions.

    Args:
        states: (..., n, S).
        moves: (..., n - 1, S, S).
        start: (S,).

    Returns:
        Posteriors (..., n, S), zero where the total is zero; logs of the totals (...).
    """
    count, width = states.shape[-2:]
    ahead = np.broadcast_shapes(states.shape[:-2], moves.shape[:-3])
    # Products instead of sums of logs; what is lost by scaling each place is added up apart.
    top = np.maximum(states.max(axis=-1, keepdims=True), -1e300)
    weights = np.broadcast_to(np.exp(states - top), (*ahead, count, width))
    moves = np.broadcast_to(moves, (*ahead, count - 1, width, width))
    forward, backward = np.zeros((2, *ahead, count, width))
    total = np.broadcast_to(top[..., 0].sum(axis=-1), ahead).copy()
    now = np.exp(start) * weights[..., 0, :]
    for k in range(count):
        if k:
            now = (now[..., None, :] @ moves[..., k - 1, :, :])[..., 0, :] * weights[..., k, :]
        now, size = _scaled(now)
        total += size
        forward[..., k, :] = now
    now = np.ones((*ahead, width))
    for k in reversed(range(count)):
        backward[..., k, :], _ = _scaled(now)
        if k:
            now = (moves[..., k - 1, :, :] @ (weights[..., k, :] * now)[..., None])[..., 0]
            now, _ = _scaled(now)
    both, _ = _scaled(forward * backward)
    return both, total


def _scaled(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values with sum 1 along the last axis, zero where all are, and the log of the sum."""
    size = values.sum(axis=-1)
    return values / np.where(size > 0, size, 1.0)[..., None], _log(size)


def _log(weights: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(weights)


def best_paths(
    states: np.ndarray, moves: np.ndarray, start: np.ndarray, k: int
) -> list[tuple[int, ...]]:
    """Return the k best state sequences, the best first (list Viterbi)."""
    width = states.shape[1]
    scores = np.full((width, k), -np.inf)
    scores[:, 0] = start + states[0]
    origins = []
    for step, emission in zip(_log(moves), states[1:], strict=True):
        candidates = (scores[:, :, None] + step[:, None, :]).reshape(width * k, width)
        order = np.argsort(-candidates, axis=0, kind="stable")[:k]  # (k, width)
        scores = (np.take_along_axis(candidates, order, axis=0) + emission).T
        origins.append(order.T)
    flat = scores.ravel()
    paths = []
    for end in np.argsort(-flat, kind="stable")[:k]:
        if not np.isfinite(flat[end]):
            continue
        place, path = int(end), [int(end) // k]
        for origin in reversed(origins):
            place = int(origin[place // k, place % k])
            path.append(place // k)
        paths.append(tuple(path[::-1]))
    return paths


def path_score(
    path: tuple[int, ...], states: np.ndarray, moves: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Return the log weight of one state sequence; further axes as in `forward_backward`."""
    total = start[path[0]] + states[..., 0, path[0]]
    for k in range(1, len(path)):
        step = _log(moves[..., k - 1, path[k - 1], path[k]])
        total = total + step + states[..., k, path[k]]
    return total
