"""Voxel predictions of perfect networks, computed from a label map."""

from __future__ import annotations

import numpy as np

from spinemamba.anatomy.labels import NETWORK_LEVELS, channel_of_value
from spinemamba.imaging.volume import Volume
from spinemamba.inference.voxel_predictions import Evidence
from spinemamba.training.data.dataset import body_cores


def perfect_predictions(labels: Volume, certainty: float = 0.6) -> Evidence:
    """Return perfect predictions of bone and cores; neighbouring levels share the uncertainty."""
    channels = network_channels(labels)
    levels = np.full((len(NETWORK_LEVELS), *channels.shape), 0.001, np.float16)
    for k in range(len(NETWORK_LEVELS)):
        levels[k][channels == k + 1] = certainty
        for j in (k - 1, k + 1):
            if 0 <= j < len(NETWORK_LEVELS):
                levels[j][channels == k + 1] = (1 - certainty) / 2
    return with_levels(labels, levels)


def network_channels(labels: Volume) -> np.ndarray:
    """Return the network channel of each voxel, 0 is background, (z, y, x)."""
    lookup = np.zeros(256, int)
    for value, channel in channel_of_value().items():
        lookup[value] = channel
    return lookup[labels.array]


def with_levels(labels: Volume, levels: np.ndarray) -> Evidence:
    """Return perfect predictions of bone and cores with given level probabilities."""
    bone = (labels.array > 0).astype(np.float32)
    core = body_cores(labels).astype(np.float32)
    grid = labels.geometry
    return Evidence(bone, core, levels, grid, levels, grid)
