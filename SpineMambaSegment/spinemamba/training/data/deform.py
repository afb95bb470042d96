"""Random deformations of bodies: smooth bending, and levels that are removed or inserted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spinemamba.anatomy.labels import NETWORK_LEVELS

_WAVES = 3
_WAVE_LENGTHS_MM = (60.0, 220.0)

_ENDS = ("T12", "L5")
"""Last levels of the regions in which the number of levels varies."""


@dataclass(frozen=True)
class Bend:
    """A smooth displacement: the sum of plane waves.

    Attributes:
        waves: Phase in radians per mm along z, y, x, (n, 3).
        starts: Phase at the origin, (n,).
        sizes_mm: Amplitude along z, y, x, (n, 3).
    """

    waves: Tensor
    starts: Tensor
    sizes_mm: Tensor

    def at(self, points_mm: Tensor) -> Tensor:
        """Return the displacement at points (..., 3) in mm."""
        out = torch.zeros_like(points_mm)
        for wave, start, size in zip(self.waves, self.starts, self.sizes_mm, strict=True):
            out += torch.sin(points_mm @ wave + start)[..., None] * size
        return out


def draw_bend(size_mm: float, generator: torch.Generator) -> Bend:
    """Draw a bend; ``size_mm`` is the standard deviation of the amplitude of each wave."""
    waves = torch.randn(_WAVES, 3, generator=generator)
    low, high = _WAVE_LENGTHS_MM
    lengths_mm = torch.rand(_WAVES, 1, generator=generator) * (high - low) + low
    waves = waves / waves.norm(dim=1, keepdim=True) * (2 * math.pi / lengths_mm)
    starts = torch.rand(_WAVES, generator=generator) * 2 * math.pi
    return Bend(waves, starts, torch.randn(_WAVES, 3, generator=generator) * size_mm)


@dataclass(frozen=True)
class LevelVariant:
    """A level that a spine lacks, or has twice, with everything around it.

    Beyond a plane between two vertebrae, the body is shown shifted by one vertebra.

    Attributes:
        level: T12 or L5.
        removed: Whether the level is removed: the spine has 11 thoracic or 4 lumbar vertebrae.
            Otherwise it occurs twice, as T13 or L6 after it.
        plane: A point of the plane in voxels of the case, (3,).
        step: From the vertebra above to that of the level in voxels of the case, (3,).
    """

    level: str
    removed: bool
    plane: Tensor
    step: Tensor

    def source(self, points: Tensor) -> Tensor:
        """Return where in the case the points (..., 3) of the variant are, in voxels."""
        below = ((points - self.plane) @ self.step) > 0
        shift = self.step if self.removed else -self.step
        return points + below[..., None] * shift

    def shown(self, points: Tensor) -> Tensor:
        """Return where the points (..., 3) of the case are in the variant; NaN if not just once."""
        shift = -self.step if self.removed else self.step
        below = ((points - self.plane) @ self.step) > 0
        below_after = ((points + shift - self.plane) @ self.step) > 0
        moved = points + below[..., None] * shift
        return torch.where((below != below_after)[..., None], torch.nan, moved)


def draw_variant(centres: Tensor, generator: torch.Generator) -> LevelVariant | None:
    """Draw a variant of a spine.

    Args:
        centres: Centres of the levels in voxels, (26, 3), as in `dataset.Case`.
        generator: Random generator.

    Returns:
        The variant; None if the spine does not show the end of the region.
    """
    region = int(torch.randint(len(_ENDS), (), generator=generator))
    removed = bool(torch.randint(2, (), generator=generator))
    channel = NETWORK_LEVELS.index(_ENDS[region]) + 1
    above, own = centres[channel - 1], centres[channel]
    if not bool(torch.isfinite(above).all() & torch.isfinite(own).all()):
        return None
    step = own - above
    plane = (above + own) / 2 if removed else own + step / 2
    return LevelVariant(_ENDS[region], removed, plane, step)
