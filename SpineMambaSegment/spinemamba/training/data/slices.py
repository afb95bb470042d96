"""Simulated thick slices of a patch, on its own grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spinemamba.imaging.resample import axis_weights
from spinemamba.training.data.sampling import along_axis

_AXES = (0, 0, 1, 2, 2, 2)
"""Axes along which slices are thick: axial and sagittal series are the most frequent."""


@dataclass(frozen=True)
class ThickSlices:
    """Means over slices, interpolated back to the grid of the patch.

    Attributes:
        axis: Axis across the slices.
        weights: (n, n), each row of sum 1.
        thickness_mm: Thickness of the slices.
    """

    axis: int
    weights: Tensor
    thickness_mm: float

    def of(self, values: Tensor) -> Tensor:
        """Return values (D, H, W) as thick slices show them."""
        return along_axis(values, self.weights, self.axis)


def draw_slices(
    thickness_mm: tuple[float, float],
    voxel_mm: float,
    size_vox: tuple[int, int, int],
    generator: torch.Generator,
) -> ThickSlices:
    """Draw the axis, thickness and position of slices.

    Args:
        thickness_mm: Smallest and largest thickness.
        voxel_mm: Voxel spacing of the patch.
        size_vox: Size of the patch.
        generator: Random generator.
    """
    axis = _AXES[int(torch.randint(len(_AXES), (), generator=generator))]
    low, high = thickness_mm
    thick_mm = float(torch.rand((), generator=generator)) * (high - low) + low
    step = max(thick_mm / voxel_mm, 1.0)  # in voxels
    start = (float(torch.rand((), generator=generator)) - 1) * step
    length = size_vox[axis]
    centres = start + step * np.arange(math.ceil(length / step) + 2)
    to_slices = axis_weights(length, centres, step)
    back = axis_weights(len(centres), (np.arange(length) - start) / step, 1 / step)
    return ThickSlices(axis, torch.from_numpy(back @ to_slices), thick_mm)
