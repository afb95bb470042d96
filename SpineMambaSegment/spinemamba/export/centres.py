"""Where each value of a label image lies. NumPy only: Slicer's process uses it, too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Centre:
    """Where the voxels of one label value lie.

    Attributes:
        middle_zyx: Mean of their indices.
        voxels: How many there are.
    """

    middle_zyx: tuple[float, float, float]
    voxels: int


def centres_of(labels: np.ndarray) -> dict[int, Centre]:
    """Return the centre of each value but 0 of a label image, shape (z, y, x)."""
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
