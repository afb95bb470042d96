"""The most likely state sequences of a chain: forward-backward and list Viterbi.

Everything is in logarithms. ``states`` (n, S) is the evidence of each state at each place,
``steps`` holds n - 1 tables (S, S) from a state to the next, ``start`` (S,) the first state's
prior.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp


def forward_backward(
    states: np.ndarray, steps: list[np.ndarray], start: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the probability of each state of each instance, and the log of the total."""
    forward = [start + states[0]]
    for step, emission in zip(steps, states[1:], strict=True):
        forward.append(logsumexp(forward[-1][:, None] + step, axis=0) + emission)
    backward = [np.zeros(states.shape[1])]
    for step, emission in zip(reversed(steps), reversed(states[1:]), strict=True):
        backward.append(logsumexp(step + (emission + backward[-1])[None, :], axis=1))
    total = float(logsumexp(forward[-1]))
    both = np.stack(forward) + np.stack(backward[::-1])
    return np.exp(both - total), total


def best_paths(
    states: np.ndarray, steps: list[np.ndarray], start: np.ndarray, k: int
) -> list[tuple[list[int], float]]:
    """Return the k best state sequences with their log scores (list Viterbi)."""
    width = states.shape[1]
    scores = np.full((width, k), -np.inf)
    scores[:, 0] = start + states[0]
    origins = []
    for step, emission in zip(steps, states[1:], strict=True):
        candidates = (scores[:, :, None] + step[:, None, :]).reshape(width * k, width)
        order = np.argsort(-candidates, axis=0, kind="stable")[:k]  # (k, width)
        scores = (np.take_along_axis(candidates, order, axis=0) + emission).T
        origins.append(order.T)
    flat = np.argsort(-scores.ravel(), kind="stable")[:k]
    paths = []
    for end in flat:
        if not np.isfinite(scores.ravel()[end]):
            continue
        place, path = int(end), [int(end) // k]
        for origin in reversed(origins):
            place = int(origin[place // k, place % k])
            path.append(place // k)
        paths.append((path[::-1], float(scores.ravel()[end])))
    return paths


def path_score(
    path: list[int], states: np.ndarray, steps: list[np.ndarray], start: np.ndarray
) -> float:
    """Return the log score of one state sequence."""
    total = start[path[0]] + states[0][path[0]]
    for i, step in enumerate(steps):
        total += step[path[i], path[i + 1]] + states[i + 1][path[i + 1]]
    return float(total)
