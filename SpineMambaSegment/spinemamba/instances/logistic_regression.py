"""Logistic regression with a normal prior, by Newton's method.

scikit-learn's `LogisticRegression` solves the same problem for an isotropic prior. Here the number
of steps is fixed, so that the result is the same on every computer up to rounding.

`measure.plane_fit` has its own fit: with a transition of a few hundredths of a voxel, full Newton
steps diverge, and it needs a line search and a test of convergence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LARGEST_LOGIT = 30.0
"""Limit of the logit, beyond which the exponential function may overflow."""


@dataclass(frozen=True)
class NewtonOptions:
    """Options of the iteration.

    Attributes:
        steps: Number of steps.
        least_curvature: Lower bound of p (1 - p) in the Hessian. Without one, the first step from
            a distant start overshoots.
    """

    steps: int
    least_curvature: float


def logistic_fit(
    design: np.ndarray,
    target: np.ndarray,
    prior: tuple[np.ndarray, np.ndarray],
    options: NewtonOptions,
    offset: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Return the weights that minimise the mean logistic loss plus the penalty of the prior.

    Args:
        design: Design matrix, (n, k).
        target: 0 or 1 for each row, (n,).
        prior: Mean of the weights and their precision divided by n, (k,) each. The fit starts at
            the mean.
        options: Options of the iteration.
        offset: Logit of each row if all weights are 0, (n,).
    """
    mean, precision = prior
    weights = mean.copy()
    for _ in range(options.steps):
        expected = probability(offset + design @ weights)
        gradient = design.T @ (expected - target) / len(design) + precision * (weights - mean)
        curvature = np.maximum(expected * (1 - expected), options.least_curvature)
        hessian = (design.T * curvature) @ design / len(design) + np.diag(precision)
        weights -= np.linalg.solve(hessian, gradient)
    return weights


def probability(logit: np.ndarray) -> np.ndarray:
    """Return the logistic function."""
    return 1 / (1 + np.exp(-np.clip(logit, -_LARGEST_LOGIT, _LARGEST_LOGIT)))
