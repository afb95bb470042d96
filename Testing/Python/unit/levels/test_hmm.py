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
        path: float(path_score(path, emissions[None], transitions[None], start)[0, 0])
        for path in itertools.product(range(3), repeat=4)
    }


def test_best_paths_equal_exhaustive_search(chain):
    emissions, transitions, start = chain
    for one in range(2):
        scores = every_path(emissions[one], transitions[one], start)
        ranked = sorted(scores, key=scores.__getitem__, reverse=True)
        assert best_paths(emissions[one], transitions[one], start, 6) == ranked[:6]


def test_posteriors_and_totals_equal_exhaustive_sums(chain):
    emissions, transitions, start = chain
    posterior, total = forward_backward(emissions, transitions, start)
    for one in range(2):
        scores = every_path(emissions[one], transitions[one], start)
        assert total[one, one] == pytest.approx(logsumexp(list(scores.values())))
        for position, state in itertools.product(range(4), range(3)):
            weight = logsumexp([s for path, s in scores.items() if path[position] == state])
            assert posterior[one, one, position, state] == pytest.approx(
                np.exp(weight - total[one, one])
            )


def test_all_emissions_are_combined_with_all_transitions(chain):
    emissions, transitions, start = chain
    both, totals = forward_backward(emissions, transitions, start)
    assert both.shape == (2, 2, 4, 3)
    for a, b in itertools.product(range(2), range(2)):
        posterior, total = forward_backward(emissions[a, None], transitions[b, None], start)
        assert both[a, b] == pytest.approx(posterior[0, 0])
        assert totals[a, b] == pytest.approx(total[0, 0])


def test_best_paths_over_likely_states_equal_those_over_all(chain):
    emissions, transitions, start = chain
    for one in range(2):
        posterior, _ = forward_backward(emissions[one, None], transitions[one, None], start)
        scores = every_path(emissions[one], transitions[one], start)
        total = logsumexp(list(scores.values()))
        ranked = sorted(scores, key=scores.__getitem__, reverse=True)
        least = 0.1
        likely = [path for path in ranked[:9] if np.exp(scores[path] - total) > least]
        result = best_paths(emissions[one], transitions[one], start, 9, posterior[0, 0] > least)
        assert result[: len(likely)] == likely
        assert not (posterior > least).all()


def test_an_impossible_sequence_has_total_weight_zero(chain):
    emissions, transitions, start = chain
    posterior, total = forward_backward(emissions[:1], np.zeros_like(transitions[:1]), start)
    assert total == -np.inf
    assert (posterior[0, 0, 1:] == 0).all()
