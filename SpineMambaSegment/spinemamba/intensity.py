"""From scanner values to what the network was trained on."""

from __future__ import annotations

from typing import Literal

import numpy as np

Modality = Literal["ct", "mr"]

CT_WINDOW_HU = (-250.0, 1250.0)
"""Fat to cortical bone. Metal and air carry no further information about vertebrae."""

MR_PERCENTILES = (1.0, 99.0)

NORMALISATION = {"ct_window_hu": CT_WINDOW_HU, "mr_percentiles": MR_PERCENTILES}
"""What a model's card says of it."""


def guess_modality(array: np.ndarray) -> Modality:
    """Tell CT from MR by its values.

    CT in Hounsfield units has fat near -100 and air near -1000, also in a tight crop; MR has no
    negative values of that size.

    Args:
        array: Image, shape (z, y, x).

    Returns:
        "ct" if more than 0.5 % of the voxels lie below -40 (fat in CT), else "mr".
    """
    sample = array[::2, ::4, ::4]
    return "ct" if np.mean(sample < -40) > 0.005 else "mr"


def normalise(array: np.ndarray, modality: Modality) -> np.ndarray:
    """Scale an image to about [-1, 1], the range the network is trained on.

    Args:
        array: Image, any shape and number type.
        modality: "ct" maps `CT_WINDOW_HU` to [-1, 1] and clips; "mr" does so with the 1st and
            99th percentile of the voxels above zero, then clips to [-1, 1.5].

    Returns:
        float32 array of the same shape.
    """
    if modality == "ct":
        low, high = CT_WINDOW_HU
        return (np.clip(array, low, high).astype(np.float32) - low) * (2 / (high - low)) - 1
    sample = array.reshape(-1)[:: max(1, array.size // 500_000)].astype(np.float32)
    positive = sample[sample > 0]
    low, high = np.percentile(positive if positive.size else sample, MR_PERCENTILES)
    scaled = (array.astype(np.float32) - low) * (2 / max(high - low, 1e-6)) - 1
    return np.clip(scaled, -1.0, 1.5)
