"""Acquisition of a sagittal MR stack: coil, artefacts, slices with gaps, resolution and noise."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from spinemamba.imaging.resample import axis_weights
from spinemamba.training.data.sampling import along_axis
from spinemamba.training.synthesis.augment import chance, random_field, uniform

_SLICE_MM = (3.0, 5.2)
_THIN_MM = (1.2, 3.0)
"""Distances of slices in stacks, and in three-dimensional sequences."""

_THICK = 0.85
"""Share of images that are stacks; the others are three-dimensional."""


def acquire(signal: Tensor, voxel_mm: float, generator: torch.Generator) -> Tensor:
    """Return the image of a signal, float32 (D, H, W), not below zero.

    Args:
        signal: Signal of each voxel; the last axis is left-right, across the slices.
        voxel_mm: Voxel spacing.
        generator: Random generator.
    """
    image = _coil(signal, voxel_mm, generator)
    if chance(0.2, generator):
        image = _saturation_band(image, voxel_mm, generator)
    if chance(0.2, generator):
        image = _ghost(image, generator)
    if chance(0.35, generator):
        image = _truncated(image, generator)
    return _sliced(image, voxel_mm, generator).clamp_min(0)


def _positions_mm(image: Tensor, voxel_mm: float) -> tuple[Tensor, Tensor]:
    """Return the position along z and y, broadcastable to the image."""
    z, y = (torch.arange(n, dtype=torch.float32) * voxel_mm for n in image.shape[:2])
    return z[:, None, None], y[None, :, None]


def _coil(image: Tensor, voxel_mm: float, generator: torch.Generator) -> Tensor:
    """Return the image with the fall-off of a surface coil behind the back, and a bias field."""
    z_mm, y_mm = _positions_mm(image, voxel_mm)
    height_mm, depth_mm = (n * voxel_mm for n in image.shape[:2])
    if chance(0.85, generator):
        back_mm = depth_mm * uniform(0.6, 1.2, generator)
        image = image * torch.exp(-(back_mm - y_mm).clamp_min(0) / uniform(60, 260, generator))
    if chance(0.6, generator):
        middle_mm = height_mm * uniform(0.1, 0.9, generator)
        image = image * torch.exp(-(((z_mm - middle_mm) / uniform(110, 350, generator)) ** 2))
    knot_vox = (uniform(35, 90, generator) / voxel_mm,) * 3
    strength = uniform(0.02, 0.25, generator)
    return image * torch.exp(strength * random_field(image.shape, knot_vox, generator))


def _saturation_band(image: Tensor, voxel_mm: float, generator: torch.Generator) -> Tensor:
    """Return the image with a dark band in front, against the motion of the abdomen."""
    z_mm, y_mm = _positions_mm(image, voxel_mm)
    edge_mm = image.shape[1] * voxel_mm * uniform(-0.1, 0.35, generator)
    slope = uniform(-0.1, 0.1, generator)
    left = uniform(0.03, 0.5, generator)
    return image * (left + torch.sigmoid((y_mm - edge_mm - slope * z_mm) / 4)).clamp_max(1)


def _ghost(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return the image with a weak copy of itself, as motion and wrap-around give."""
    axis = int(torch.randint(2, (), generator=generator))
    shift = int(image.shape[axis] * uniform(0.2, 0.8, generator))
    return image + uniform(0.02, 0.12, generator) * torch.roll(image, shift, axis)


def _truncated(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return the image without its highest frequencies in the slice, with Gibbs ringing."""
    spectrum = torch.fft.rfft2(image, dim=(0, 1))
    z = torch.fft.fftfreq(image.shape[0]).abs()[:, None, None]
    y = torch.fft.rfftfreq(image.shape[1])[None, :, None]
    kept = (z <= 0.5 * uniform(0.65, 1.0, generator)) & (y <= 0.5 * uniform(0.65, 1.0, generator))
    return torch.fft.irfft2(spectrum * kept, s=image.shape[:2], dim=(0, 1)).float().clamp_min(0)


def _sliced(image: Tensor, voxel_mm: float, generator: torch.Generator) -> Tensor:
    """Return the image as sagittal slices with gaps and noise show it, on its own grid."""
    distance_mm = uniform(*(_SLICE_MM if chance(_THICK, generator) else _THIN_MM), generator)
    step = max(distance_mm / voxel_mm, 1.0)
    thick = max(step * uniform(0.75, 1.0, generator), 1.0)
    width = image.shape[2]
    centres = (np.arange(math.ceil(width / step) + 2) - uniform(0, 1, generator)) * step
    to_slices = torch.from_numpy(axis_weights(width, centres, thick))
    back = axis_weights(len(centres), (np.arange(width) - centres[0]) / step, 1 / step)
    slices = _noisy(along_axis(image, to_slices, 2), generator)
    if chance(0.15, generator):  # motion between slices
        slices = slices * (1 + 0.12 * torch.randn(len(centres), generator=generator))
    return along_axis(slices, torch.from_numpy(back), 2)


def _noisy(slices: Tensor, generator: torch.Generator) -> Tensor:
    """Return slices with Rician noise."""
    level = float(slices.mean()) * uniform(0.01, 0.14, generator)
    real, imaginary = torch.randn(2, *slices.shape, generator=generator) * level
    return torch.hypot(slices + real, imaginary)
