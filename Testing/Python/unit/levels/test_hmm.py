from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import logsumexp

from spinemamba.levels.hmm import best_paths, forward_backward, path_score


@pytest.fixture
def chain() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evidence, moves and start of two chains of four places with three states."""
    rng = np.random.default_rng(0)
    states, moves = np.log(rng.random((2, 4, 3))), rng.random((2, 3, 3, 3))
    moves[:, 1, 0, 2] = 0.0
    return states, moves, np.log(rng.random(3))


def every_path(states: np.ndarray, moves: np.ndarray, start: np.ndarray) -> dict:
    return {
        path: float(path_score(path, states[None], moves[None], start)[0, 0])
        for path in itertools.product(range(3), repeat=4)
    }


def test_the_best_paths_are_those_found_by_trying_all(chain):
    states, moves, start = chain
    for one in range(2):
        every = every_path(states[one], moves[one], start)
        ranked = sorted(every, key=every.__getitem__, reverse=True)
        assert best_paths(states[one], moves[one], start, 6) == ranked[:6]


def test_posteriors_and_total_are_those_found_by_trying_all(chain):
    states, moves, start = chain
    posterior, total = forward_backward(states, moves, start)
    for one in range(2):
        every = every_path(states[one], moves[one], start)
        assert total[one, one] == pytest.approx(logsumexp(list(every.values())))
        for place, state in itertools.product(range(4), range(3)):
            weight = logsumexp([s for path, s in every.items() if path[place] == state])
            assert posterior[one, one, place, state] == pytest.approx(
                np.exp(weight - total[one, one])
            )


def test_every_evidence_meets_every_kind_of_moves(chain):
    states, moves, start = chain
    both, totals = forward_backward(states, moves, start)
    assert both.shape == (2, 2, 4, 3)
    for a, b in itertools.product(range(2), range(2)):
        posterior, total = forward_backward(states[a, None], moves[b, None], start)
        assert both[a, b] == pytest.approx(posterior[0, 0])
        assert totals[a, b] == pytest.approx(total[0, 0])


def test_the_best_paths_over_likely_states_are_those_over_all(chain):
    states, moves, start = chain
    for one in range(2):
        posterior, _ = forward_backward(states[one, None], moves[one, None], start)
        every = every_path(states[one], moves[one], start)
        total = logsumexp(list(every.values()))
        ranked = sorted(every, key=every.__getitem__, reverse=True)
        least = 0.1
        likely = [path for path in ranked[:9] if np.exp(every[path] - total) > least]
        found = best_paths(states[one], moves[one], start, 9, posterior[0, 0] > least)
        assert found[: len(likely)] == likely
        assert not (posterior > least).all()


def test_an_impossible_chain_has_the_total_zero(chain):
    states, moves, start = chain
    posterior, total = forward_backward(states[:1], np.zeros_like(moves[:1]), start)
    assert total == -np.inf
    assert (posterior[0, 0, 1:] == 0).all()
