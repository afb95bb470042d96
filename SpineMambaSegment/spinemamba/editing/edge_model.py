"""Where a vertebra ends, learned from the outlines of its neighbours in the same scan.

What the fine network says at 1.5 mm, and what the image says at its own voxels, are two hints at
the edge of bone. How much each is worth depends on the scan: on its noise, its sharpness and how
dense this patient's bone is. The vertebrae that are there already show it. If they are what the
network found, nothing else than its own answer is learned from them; if a person drew them, the
new one is drawn alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

Spacing = tuple[float, float, float]

IMAGE_MM, BONE_MM = (1.0, 2.5), (1.5, 4.0)
"""Widths of the Gaussians through which the image and the network's answer are seen as well."""

MOST_SAMPLES = 12_000
"""For 45 numbers; more make no difference."""

LEAST_SAMPLES = 2_000
"""Less is no vertebra's outline."""

RIDGE = 1e-3
NEWTON_STEPS = 10
LEAST_CURVATURE = 1e-3
LEAST_BONE = 0.01
"""Where the network is surer than this that there is none, there is none."""


@dataclass(frozen=True)
class Hints:
    """What is known of the voxels of an image, all (z, y, x).

    Attributes:
        image: Normalised values.
        bone: Probability of bone by the network.
        gap_mm: How far the next vertebra is that the voxel is none of: joints are dark and thin.
        spacing_mm: Voxel size.
    """

    image: np.ndarray
    bone: np.ndarray
    gap_mm: np.ndarray
    spacing_mm: Spacing

    def seen(self) -> list[np.ndarray]:
        """Return what is looked at in each voxel, float32 arrays (z, y, x)."""
        bone = np.clip(self.bone, 1e-4, 1 - 1e-4)
        odds = np.log(bone / (1 - bone))
        return [
            self.image,
            odds,
            self.gap_mm,
            np.exp(-self.gap_mm),
            *(self._blurred(self.image, width_mm) for width_mm in IMAGE_MM),
            *(self._blurred(odds, width_mm) for width_mm in BONE_MM),
        ]

    def _blurred(self, values: np.ndarray, width_mm: float) -> np.ndarray:
        return ndimage.gaussian_filter(values, [width_mm / step for step in self.spacing_mm])


def learned_bone(
    hints: Hints, drawn: np.ndarray, taught: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Return the probability of bone as outlines that are there teach it.

    A logistic regression on what is seen in a voxel, its squares and products.

    Args:
        hints: What is known of the voxels.
        drawn: Where the vertebrae are whose outlines teach, bool (z, y, x).
        taught: Voxels to learn from, inside of them and around.
        wanted: Voxels to answer for.

    Returns:
        float32 (z, y, x); 0 where nothing is wanted, and what the network says if there is too
        little to learn from.
    """
    inside = np.where(wanted & (hints.bone > LEAST_BONE), hints.bone, 0).astype(np.float32)
    samples = np.flatnonzero(taught)
    share = drawn.ravel()[samples].mean() if len(samples) else 0.0
    if min(share, 1 - share) * len(samples) < LEAST_SAMPLES / 2:
        return inside
    samples = np.random.default_rng(0).permutation(samples)[:MOST_SAMPLES]
    seen = [values.ravel() for values in hints.seen()]
    known = np.stack([values[samples] for values in seen], axis=-1).astype(float)
    middle, spread = known.mean(axis=0), known.std(axis=0) + 1e-6
    weights = _logistic(_terms((known - middle) / spread), drawn.ravel()[samples].astype(float))
    asked = np.flatnonzero(inside)
    new = np.stack([values[asked] for values in seen], axis=-1).astype(float)
    margin = np.clip(_terms((new - middle) / spread) @ weights, -30, 30)
    inside.ravel()[asked] = 1 / (1 + np.exp(-margin))
    return inside


def _terms(values: np.ndarray) -> np.ndarray:
    """Return one, the values (n, k), and their squares and products."""
    first, second = np.triu_indices(values.shape[1])
    ones = np.ones((len(values), 1))
    return np.hstack([ones, values, values[:, first] * values[:, second]])


def _logistic(terms: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the weights of a logistic regression, by Newton's method."""
    weights = np.zeros(terms.shape[1])
    ridge = RIDGE * np.eye(len(weights))
    for _ in range(NEWTON_STEPS):
        expected = 1 / (1 + np.exp(-np.clip(terms @ weights, -30, 30)))
        slope = terms.T @ (expected - inside) / len(terms) + ridge @ weights
        certain = np.maximum(expected * (1 - expected), LEAST_CURVATURE)
        bend = (terms.T * certain) @ terms / len(terms) + ridge
        weights -= np.linalg.solve(bend, slope)
    return weights
