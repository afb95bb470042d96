"""Random patches of a case: position, rotation, scale, mirroring and field of view."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.imaging.intensity import Modality
from spinemamba.training.data.dataset import IGNORE_INDEX, UNITS_PER_MM, Case


@dataclass(frozen=True)
class PatchOptions:
    """Distribution of random patches.

    Attributes:
        size_vox: Size of a patch (z, y, x).
        turn_deg: Largest rotation about each axis.
        scale: Smallest and largest magnification.
        on_spine: Share of patches centred near a vertebra; the others are anywhere.
        mirror: Share of patches mirrored left-right. Levels are unchanged.
        narrow: Share of patches with a smaller field of view, so that the network cannot infer
            levels from where typical images end.
    """

    size_vox: tuple[int, int, int]
    turn_deg: float = 15.0
    scale: tuple[float, float] = (0.8, 1.2)
    on_spine: float = 0.8
    mirror: float = 0.5
    narrow: float = 0.4


@dataclass(frozen=True)
class Patch:
    """One patch.

    Attributes:
        target: As in `Case`, uint8 (D, H, W).
        core: As in `Case`, uint8 (D, H, W).
        offset: Offset to the centre of the core of the voxel's vertebra along z, y, x, in voxels
            of the patch, float32 (3, D, H, W); NaN if unknown.
        image: HU, or MR in `dataset.MR_UNITS`, float32 (D, H, W); None if the case has none.
        tissues: uint8 (D, H, W); None if the case has none.
        depth_mm: Depth in the voxel's vertebra, negative outside, float32 (D, H, W); None without
            tissues.
        modality: "ct" or "mr", of the image.
    """

    target: Tensor
    core: Tensor
    offset: Tensor
    image: Tensor | None
    tissues: Tensor | None
    depth_mm: Tensor | None
    modality: Modality = "ct"


def draw_patch(case: Case, options: PatchOptions, generator: torch.Generator) -> Patch:
    """Draw one random patch.

    Args:
        case: Case to draw from.
        options: Distribution of patches.
        generator: Random generator; the same state gives the same patch.

    Returns:
        The patch. Voxels outside the case have the target `IGNORE_INDEX` and the image value of
        the nearest voxel at its border.
    """
    centre = _centre(case, options, generator)
    matrix = _matrix(options, generator)
    offsets = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in options.size_vox]
    grid = torch.stack(torch.meshgrid(*offsets, indexing="ij"), dim=-1)  # (D, H, W, 3)
    points = grid @ matrix.T + centre  # in voxels of the case
    first, last = _view(case, centre, options, generator)
    inside = ((points > first - 0.5) & (points < last + 0.5)).all(dim=-1)
    points = torch.minimum(torch.maximum(points, first), last)
    index = points.round().long().unbind(-1)
    target = torch.where(inside, case.target[index], IGNORE_INDEX).to(torch.uint8)
    image = None if case.image is None else _interpolate(case.image, points)
    tissues = None if case.tissues is None else case.tissues[index]
    depth = None if case.depth is None else _interpolate(case.depth, points) / UNITS_PER_MM
    offset = _offset(case.centres, target, centre, matrix, grid)
    modality = case.origin.modality
    return Patch(target, case.core[index], offset, image, tissues, depth, modality)


def _offset(
    centres: Tensor, target: Tensor, centre: Tensor, matrix: Tensor, grid: Tensor
) -> Tensor:
    """Return the offset to the core of each voxel's vertebra, along the axes of the patch."""
    in_patch = (centres - centre) @ torch.linalg.inv(matrix).T  # centres in the patch, (26, 3)
    channel = torch.where(target == IGNORE_INDEX, 0, target).long()  # row 0 is NaN
    return (in_patch[channel] - grid).movedim(-1, 0)


def _view(
    case: Case, centre: Tensor, options: PatchOptions, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the first and last voxel of the field of view along each axis."""
    first, last = torch.zeros(3), torch.tensor(case.target.shape, dtype=torch.float32) - 1
    if float(torch.rand((), generator=generator)) >= options.narrow:
        return first, last
    size = torch.tensor(options.size_vox, dtype=torch.float32)
    middle = torch.minimum(torch.maximum(centre, first), last)
    # Each side is cut with a probability of 0.5, at 1/8 to 1 patch size from the centre.
    cuts = (torch.rand(2, 3, generator=generator) * 0.875 + 0.125) * size
    keeps = torch.rand(2, 3, generator=generator) < 0.5
    low = torch.where(keeps[0], first, torch.maximum(first, (middle - cuts[0]).round()))
    high = torch.where(keeps[1], last, torch.minimum(last, (middle + cuts[1]).round()))
    return low, high


def _centre(case: Case, options: PatchOptions, generator: torch.Generator) -> Tensor:
    """Return the centre of a patch in voxels of the case."""
    on_spine = float(torch.rand((), generator=generator)) < options.on_spine
    if on_spine and len(case.anchors):
        index = int(torch.randint(len(case.anchors), (), generator=generator))
        size = torch.tensor(options.size_vox, dtype=torch.float32)
        jitter = (torch.rand(3, generator=generator) - 0.5) * size * 0.6
        return case.anchors[index].float() + jitter
    return torch.rand(3, generator=generator) * torch.tensor(case.target.shape)


def _matrix(options: PatchOptions, generator: torch.Generator) -> Tensor:
    """Return a random matrix (3, 3) from offsets in the patch to offsets in the case."""

    def uniform(low: float, high: float) -> float:
        return float(torch.rand((), generator=generator)) * (high - low) + low

    matrix = torch.eye(3) / uniform(*options.scale)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        angle = math.radians(uniform(-options.turn_deg, options.turn_deg))
        turn = torch.eye(3)
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    if uniform(0, 1) < options.mirror:
        matrix = matrix * torch.tensor([1.0, 1.0, -1.0])
    return matrix


def _interpolate(image: Tensor, points: Tensor) -> Tensor:
    """Return trilinear samples at points (D, H, W, 3); only the box around them is converted."""
    limits = torch.tensor(image.shape) - 1
    low = points.amin(dim=(0, 1, 2)).floor().long().clamp_min(0).minimum(limits)
    high = points.amax(dim=(0, 1, 2)).ceil().long().clamp_min(0).minimum(limits)
    z, y, x = (slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    box = image[z, y, x].float()[None, None]
    size = torch.tensor(box.shape[2:], dtype=torch.float32)
    unit = (points - low) * 2 / (size - 1).clamp_min(1) - 1
    sampled = functional.grid_sample(
        box, unit.flip(-1)[None], mode="bilinear", padding_mode="border", align_corners=True
    )
    return sampled[0, 0]
