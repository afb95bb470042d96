"""Inference in the hidden Markov model, compared with exhaustive search."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import logsumexp

from spinemamba.levels.hmm import best_paths, forward_backward, path_score


@pytest.fixture
def chain() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return emissions, transitions and start of two sequences of length 4 with 3 states."""
    rng = np.random.default_rng(0)
    emissions, transitions = np.log(rng.random((2, 4, 3))), rng.random((2, 3, 3, 3))
    transitions[:, 1, 0, 2] = 0.0
    return emissions, transitions, np.log(rng.random(3))


def every_path(emissions: np.ndarray, transitions: np.ndarray, start: np.ndarray) -> dict:
    return {
        path: float(path_score(path, emissions, transitions[None], start)[0])
        for path in itertools.product(range(3), repeat=4)
    }


def test_best_paths_equal_exhaustive_search(chain):
    emissions, transitions, start = chain
    for one in range(2):
        scores = every_path(emissions[one], transitions[one], start)
        ranked = sorted(scores, key=scores.__getitem__, reverse=True)
        assert best_paths(emissions[one], transitions[one], start, 6) == ranked[:6]


def every_hypothesis(emissions: np.ndarray, prior: np.ndarray, changes: list) -> dict:
    """Return prior and emissions of each set, and of each change at each position."""
    out = {(k,): (prior[k], emissions[k]) for k in range(len(prior))}
    for k, (above, below, rate) in enumerate(changes):
        for first in range(1, 4):
            changed = np.concatenate([emissions[above, :first], emissions[below, first:]])
            out[k, first] = (rate, changed)
    return out


@pytest.mark.parametrize("changes", [[], [(0, 1, 0.1), (1, 0, 0.05)], [(1, 0, 0.2)]])
def test_sums_over_all_changes_equal_those_over_explicit_hypotheses(chain, changes: list):
    emissions, transitions, start = chain
    prior = np.array([0.3, 0.1])
    result = forward_backward(emissions, transitions, start, prior, changes)
    for m in range(2):
        weights = {
            hypothesis: {
                path: rate * np.exp(score)
                for path, score in every_path(seen, transitions[m], start).items()
            }
            for hypothesis, (rate, seen) in every_hypothesis(emissions, prior, changes).items()
        }
        total = sum(sum(paths.values()) for paths in weights.values())
        assert result.log_total[m] == pytest.approx(np.log(total))
        for position, state in itertools.product(range(4), range(3)):
            weight = sum(
                w for paths in weights.values() for p, w in paths.items() if p[position] == state
            )
            assert result.posterior[m, position, state] == pytest.approx(weight / total)
        for hypothesis, paths in weights.items():
            k, *first = hypothesis
            share = result.switched[m, k, first[0] - 1] if first else result.plain[m, k]
            assert share == pytest.approx(sum(paths.values()) / total)


def test_best_paths_over_likely_states_equal_those_over_all(chain):
    emissions, transitions, start = chain
    for one in range(2):
        model = (emissions[one, None], transitions[one, None], start, np.ones(1))
        posterior = forward_backward(*model).posterior[0]
        scores = every_path(emissions[one], transitions[one], start)
        total = logsumexp(list(scores.values()))
        ranked = sorted(scores, key=scores.__getitem__, reverse=True)
        least = 0.1
        likely = [path for path in ranked[:9] if np.exp(scores[path] - total) > least]
        result = best_paths(emissions[one], transitions[one], start, 9, posterior > least)
        assert result[: len(likely)] == likely
        assert not (posterior > least).all()


def test_an_impossible_sequence_has_total_weight_zero(chain):
    emissions, transitions, start = chain
    result = forward_backward(emissions[:1], np.zeros_like(transitions[:1]), start, np.ones(1))
    assert result.log_total == -np.inf
    assert (result.posterior[0, 1:] == 0).all()
