"""Simulated screws, rods and metal streaks in CT patches."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spinemamba.training.synthesis.augment import uniform

METAL = 1.0
"""Normalised intensity: the upper end of the CT window; metal exceeds it."""

_SCREW_RADIUS_VOX = (1.2, 2.4)
_SCREW_LENGTH_VOX = (18.0, 34.0)
_SLICE_REACH_VOX = 1.5
"""Decay of streaks along z: they affect the slice of the metal and its neighbours."""


def add_implants(image: Tensor, bone: Tensor, generator: torch.Generator) -> Tensor:
    """Return a patch with posterior screws in bone, and a rod between two of them.

    Labels are unchanged: a screw in a vertebra is part of it, as in manual segmentations.

    Args:
        image: Normalised CT, (D, H, W); H increases towards posterior.
        bone: Mask of vertebrae, bool (D, H, W).
        generator: Random generator.

    Returns:
        The image with metal and streaks; unchanged without bone.
    """
    voxels = bone.nonzero()
    if not len(voxels):
        return image
    grid = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float32) for n in image.shape), indexing="ij"
    )
    count = int(torch.randint(1, 5, (), generator=generator))
    heads, out = [], image
    for _ in range(count):
        tip = voxels[int(torch.randint(len(voxels), (), generator=generator))].float()
        tilt = torch.tensor([uniform(-0.2, 0.2, generator), 1.0, uniform(-0.5, 0.5, generator)])
        length = uniform(*_SCREW_LENGTH_VOX, generator)
        head = tip + tilt / tilt.norm() * length
        heads.append(head)
        radius = uniform(*_SCREW_RADIUS_VOX, generator)
        out = _streaks(out, (tip + head) / 2, grid, uniform(0.05, 0.35, generator), generator)
        out = torch.where(_near_segment(grid, tip, head) < radius, METAL, out)
    if count > 1:
        rod = _near_segment(grid, heads[0], heads[1]) < uniform(1.5, 2.2, generator)
        out = torch.where(rod, METAL, out)
    return out


def _near_segment(grid: tuple[Tensor, ...], start: Tensor, stop: Tensor) -> Tensor:
    """Return the distance of each voxel to a line segment, in voxels."""
    along = stop - start
    offsets = [g - s for g, s in zip(grid, start.tolist(), strict=True)]
    share = sum(o * a for o, a in zip(offsets, along.tolist(), strict=True))
    share = (share / float(along @ along)).clamp(0, 1)
    return sum((o - share * a) ** 2 for o, a in zip(offsets, along.tolist(), strict=True)).sqrt()


def _streaks(
    image: Tensor,
    centre: Tensor,
    grid: tuple[Tensor, ...],
    strength: float,
    generator: torch.Generator,
) -> Tensor:
    """Return the image with bright and dark rays around a point, decaying with distance."""
    z, y, x = (g - c for g, c in zip(grid, centre.tolist(), strict=True))
    angle, radius = torch.atan2(y, x), torch.hypot(y, x)
    rays = int(torch.randint(3, 9, (), generator=generator))
    phase = uniform(0, 2 * math.pi, generator)
    wave = torch.cos(rays * angle + phase) * torch.exp(-radius / 20) * (radius > 2)
    return image + strength * wave * torch.exp(-((z / _SLICE_REACH_VOX) ** 2))
