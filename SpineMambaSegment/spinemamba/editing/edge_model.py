"""Edge model: the boundary of bone, learned from existing vertebrae in the same scan.

The bone probability of the fine network at 1.5 mm, and the intensities at the image's own voxels,
both indicate the edge of bone. Their best weights depend on noise, sharpness and bone density of
the scan, and are learned from the existing vertebrae. If those are outputs of the network, the
model reproduces the network; if a user drew them, the new vertebra follows the user's style.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.instances.logistic_regression import NewtonOptions, logistic_fit, probability

_IMAGE_MM, _BONE_MM = (1.0, 2.5), (1.5, 4.0)
"""Standard deviations of the Gaussians for smoothed features of the image and of bone."""

_MOST_SAMPLES = 12_000
"""Training voxels for 45 weights; more do not improve the fit."""

_LEAST_SAMPLES = 2_000
"""Minimum number of training voxels; fewer are not the outline of a vertebra."""

_RIDGE = 1e-3
"""Weight of the L2 penalty of the regression."""

_NEWTON = NewtonOptions(steps=10, least_curvature=1e-3)

_LEAST_BONE = 0.01
"""Voxels with a lower bone probability are background."""


@dataclass(frozen=True)
class EdgeInputs:
    """Inputs of the edge model; arrays (z, y, x).

    Attributes:
        image: Normalised intensities.
        bone: Bone probability of the network.
        gap_mm: Distance to the nearest vertebra that does not contain the voxel (joint spaces are
            thin and dark).
        spacing_mm: Voxel size.
    """

    image: np.ndarray
    bone: np.ndarray
    gap_mm: np.ndarray
    spacing_mm: tuple[float, float, float]

    def features(self) -> list[np.ndarray]:
        """Return the features of each voxel, float32 arrays (z, y, x)."""
        bone = np.clip(self.bone, 1e-4, 1 - 1e-4)
        logit = np.log(bone / (1 - bone))
        return [
            self.image,
            logit,
            self.gap_mm,
            np.exp(-self.gap_mm),
            *(self._smoothed(self.image, width_mm) for width_mm in _IMAGE_MM),
            *(self._smoothed(logit, width_mm) for width_mm in _BONE_MM),
        ]

    def _smoothed(self, values: np.ndarray, width_mm: float) -> np.ndarray:
        return ndimage.gaussian_filter(values, [width_mm / step for step in self.spacing_mm])


def learned_bone(
    inputs: EdgeInputs, labelled: np.ndarray, training: np.ndarray, query: np.ndarray
) -> np.ndarray:
    """Return the bone probability of an edge model, trained on existing outlines.

    The model is a logistic regression on the features of a voxel, their squares and products.

    Args:
        inputs: Inputs of the model.
        labelled: Mask of the existing vertebrae, bool (z, y, x).
        training: Mask of the training voxels, inside and around the existing vertebrae.
        query: Mask of the voxels to predict.

    Returns:
        float32 (z, y, x); 0 outside of ``query``. The network's bone probability if there are too
        few training voxels.
    """
    predicted = np.where(query & (inputs.bone > _LEAST_BONE), inputs.bone, 0).astype(np.float32)
    samples = np.flatnonzero(training)
    share = labelled.ravel()[samples].mean() if len(samples) else 0.0
    if min(share, 1 - share) * len(samples) < _LEAST_SAMPLES / 2:
        return predicted
    samples = np.random.default_rng(0).permutation(samples)[:_MOST_SAMPLES]
    features = [values.ravel() for values in inputs.features()]
    known = np.stack([values[samples] for values in features], axis=-1).astype(float)
    mean, std = known.mean(axis=0), known.std(axis=0) + 1e-6
    design, target = _design((known - mean) / std), labelled.ravel()[samples].astype(float)
    prior = np.zeros(design.shape[1]), np.full(design.shape[1], _RIDGE)
    weights = logistic_fit(design, target, prior, _NEWTON)
    queried = np.flatnonzero(predicted)
    new = np.stack([values[queried] for values in features], axis=-1).astype(float)
    predicted.ravel()[queried] = probability(_design((new - mean) / std) @ weights)
    return predicted


def _design(values: np.ndarray) -> np.ndarray:
    """Return the design matrix: one, the values (n, k), and their squares and products."""
    first, second = np.triu_indices(values.shape[1])
    ones = np.ones((len(values), 1))
    return np.hstack([ones, values, values[:, first] * values[:, second]])
