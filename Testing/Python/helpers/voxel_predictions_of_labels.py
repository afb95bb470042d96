"""Voxel predictions that perfect networks would make of labels."""

from __future__ import annotations

import numpy as np

from spinemamba.anatomy.labels import NETWORK_LEVELS, channel_of_value
from spinemamba.imaging.volume import Volume
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.training.data.dataset import body_cores


def predictions_of(labels: Volume, certainty: float = 0.6) -> VoxelPredictions:
    """What perfect networks would say; neighbouring levels share the rest of the probability."""
    lookup = np.zeros(256, int)
    for value, channel in channel_of_value().items():
        lookup[value] = channel
    channels = lookup[labels.array]
    levels = np.full((len(NETWORK_LEVELS), *channels.shape), 0.001, np.float16)
    for k in range(len(NETWORK_LEVELS)):
        levels[k][channels == k + 1] = certainty
        for j in (k - 1, k + 1):
            if 0 <= j < len(NETWORK_LEVELS):
                levels[j][channels == k + 1] = (1 - certainty) / 2
    bone = (labels.array > 0).astype(np.float32)
    core = body_cores(labels).astype(np.float32)
    grid = labels.geometry
    return VoxelPredictions(bone, core, levels, grid, levels, grid)
