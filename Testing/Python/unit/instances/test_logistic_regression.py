from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from spinemamba.instances.logistic_regression import NewtonOptions, logistic_fit, probability


@pytest.mark.parametrize("precision", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("mean", [0.0, 0.5])
def test_fit_is_the_minimum_of_the_penalised_logistic_loss(precision: float, mean: float):
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(400), rng.normal(size=(400, 2))])
    offset = rng.normal(size=400)
    target = (rng.random(400) < probability(offset + design @ [0.3, -1.0, 0.8])).astype(float)
    prior = np.full(3, mean), np.array([precision, 2 * precision, 0.5 * precision])

    def loss(weights: np.ndarray) -> float:
        logit = offset + design @ weights
        penalty = (prior[1] * (weights - prior[0]) ** 2).sum() / 2
        return float((np.logaddexp(0, logit) - target * logit).mean() + penalty)

    expected = minimize(loss, prior[0], tol=1e-12).x
    fitted = logistic_fit(design, target, prior, NewtonOptions(12, 1e-3), offset)
    np.testing.assert_allclose(fitted, expected, atol=1e-4)


def test_probability_is_finite_for_any_logit():
    assert probability(np.array([-1e9, 0.0, 1e9])) == pytest.approx([0, 0.5, 1], abs=1e-9)
