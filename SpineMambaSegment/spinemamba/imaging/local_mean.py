"""Normalisation of MR by the local mean, which removes the fall-off of surface coils.

The signal of a surface coil falls by a factor of ten from the skin of the back to the abdomen, so
that percentiles of the whole image leave vertebrae at any grey level. Divided by the mean of their
surroundings, vertebrae have about the same level everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.imaging.intensity import LOCAL_MEAN, Modality, normalise, uses_local_mean
from spinemamba.imaging.volume import Volume

_CELL_MM = 8.0
"""Cells in which the mean is computed: small against its Gaussian."""

_SCALE = 0.8
_RANGE = (-1.0, 2.0)
"""A voxel at the local mean becomes `_SCALE` - 1; the result is clipped to this range."""

_AIR = -0.9
"""Darker voxels have less than an eighth of the local mean."""

_REACH = 2.5
"""Standard deviations at which the Gaussian ends."""


def normalise_volume(
    volume: Volume, modality: Modality, normalisation: Mapping[str, Any]
) -> Volume:
    """Scale an image to the input range of a model's networks.

    Args:
        volume: Image in canonical orientation.
        modality: Modality of the image.
        normalisation: Entry of the model's card: with `LOCAL_MEAN`, MR is divided by its local
            mean, else it is scaled by percentiles.
    """
    if modality == "mr" and uses_local_mean(normalisation):
        return volume.with_array(divide_by_local_mean(volume))
    return volume.with_array(normalise(volume.array, modality))


def divide_by_local_mean(volume: Volume) -> np.ndarray:
    """Return an MR divided by the mean around each voxel, float32 in [-1, 2].

    Args:
        volume: Image with any units; negative values count as zero.
    """
    image = torch.from_numpy(volume.array.astype(np.float32)).clamp_min(0)
    return divided_by_local_mean(image, volume.spacing_mm).numpy()


def inverse(image: np.ndarray) -> np.ndarray:
    """Return an MR divided by its local mean with dark and bright exchanged, float32.

    Values are reflected at the local mean. Air stays dark.
    """
    reflected = np.clip(2 * (_SCALE - 1) - image, *_RANGE)
    return np.where(image < _AIR, image, reflected).astype(np.float32)


def divided_by_local_mean(image: Tensor, spacing_mm: tuple[float, float, float]) -> Tensor:
    """Return an image (D, H, W), not below zero, divided by the mean around each voxel."""
    bright = torch.quantile(image.reshape(-1)[:: max(1, image.numel() // 20_000)], 0.99)
    floor = LOCAL_MEAN["mr_floor"] * bright + 1e-6 * (1 + bright)
    mean = _local_mean(image, spacing_mm)
    return (image / (mean + floor) * _SCALE - 1).clamp(*_RANGE)


def _local_mean(image: Tensor, spacing_mm: tuple[float, float, float]) -> Tensor:
    shape = list(image.shape)
    extent_mm = [n * s for n, s in zip(shape, spacing_mm, strict=True)]
    cells = [max(1, round(length / _CELL_MM)) for length in extent_mm]
    mean = functional.interpolate(image[None, None], size=cells, mode="area")[0, 0]
    for axis, (length, count) in enumerate(zip(extent_mm, cells, strict=True)):
        mean = _blur(mean, axis, LOCAL_MEAN["mr_local_mean_mm"] * count / length)
    return functional.interpolate(mean[None, None], size=shape, mode="trilinear")[0, 0]


def _blur(image: Tensor, axis: int, sigma_vox: float) -> Tensor:
    """Return the image blurred by a Gaussian along one axis; the outermost voxels are repeated."""
    reach = int(np.ceil(_REACH * sigma_vox))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma_vox) ** 2)
    length = image.shape[axis]
    index = torch.arange(-reach, length + reach).clamp(0, length - 1)
    windows = image.index_select(axis, index).unfold(axis, 2 * reach + 1, 1)
    return windows @ (taps / taps.sum())
