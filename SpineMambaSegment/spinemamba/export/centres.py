"""Centroids of the values of a label map. NumPy only, because Slicer's process uses it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Centre:
    """Centroid of a label value.

    Attributes:
        centroid_zyx: Mean voxel index.
        voxels: Number of voxels.
    """

    centroid_zyx: tuple[float, float, float]
    voxels: int


def centres_of(labels: np.ndarray) -> dict[int, Centre]:
    """Return the centroid of each nonzero value of a label map, shape (z, y, x)."""
    inside = np.flatnonzero(labels)
    values, numbers = np.unique(labels.ravel()[inside], return_inverse=True)
    counts = np.bincount(numbers.ravel(), minlength=len(values))
    sums = [
        np.bincount(numbers.ravel(), along, minlength=len(values))
        for along in np.unravel_index(inside, labels.shape)
    ]
    middles = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
    return {
        int(value): Centre(tuple(middle.tolist()), int(count))
        for value, middle, count in zip(values, middles, counts, strict=True)
    }
