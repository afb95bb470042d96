"""Painting of sagittal MR from a tissue map: marrow, cortex, discs, canal, muscles and vessels."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from spinemamba.phantom.tissue import Tissue
from spinemamba.training.data.dataset import IGNORE_INDEX
from spinemamba.training.data.patches import Patch
from spinemamba.training.data.structures import similar_tissues
from spinemamba.training.synthesis.augment import blur, chance, grain, random_field, uniform
from spinemamba.training.synthesis.mr_acquisition import acquire
from spinemamba.training.synthesis.mr_contrast import GRADIENT_ECHO, Contrast, draw_contrast

_REACH_MM = 8.0
"""Distances to the surfaces of discs and canal are needed up to this one."""

_T12 = 19
_CONUS_MM = 15.0
"""The conus lies this far below the centre of T12, give or take the same length."""

_WIDE_VOXEL_MM = 2.0
"""In larger voxels, the layers of discs and canal are not told apart."""


def paint_sagittal_mr(patch: Patch, generator: torch.Generator) -> Tensor:
    """Return a sagittal MR of a patch, float32 (D, H, W), not below zero, in arbitrary units.

    Args:
        patch: Patch with tissues and depths; its last axis is left-right.
        generator: Random generator; the same state gives the same image.
    """
    name, contrast = draw_contrast(generator)
    kind = _kinds(patch.tissues)
    image = _signals(kind, contrast, name in GRADIENT_ECHO, generator)
    image = _marbled(image, kind, contrast, patch.voxel_mm, generator)
    if patch.voxel_mm <= _WIDE_VOXEL_MM:
        image = _with_canal(image, kind, contrast, patch, generator)
        image = _with_discs(image, kind, contrast, patch, generator)
    image = image * (1 + uniform(0.03, 0.15, generator) * grain(image.shape, generator))
    image = _with_bones(blur(image, 0.5), patch, contrast, generator)
    if name == "opposed phase":
        image = _inked(image, kind, patch, generator)
    if chance(0.35, generator):
        image = _shifted_fat(image, kind, patch.voxel_mm, generator)
    if name == "fat fraction" and chance(0.7, generator):
        noise = torch.rand(image.shape, generator=generator) * contrast.fat
        image = torch.where(kind == Tissue.AIR, noise, image)
    return acquire(image.clamp_min(0), patch.voxel_mm, generator)


def _kinds(tissues: Tensor) -> Tensor:
    """Return the `Tissue` of each voxel, int64; structures become the tissue that they are."""
    lookup = torch.arange(256)
    for value, tissue in similar_tissues().items():
        lookup[value] = int(tissue)
    return lookup[tissues.long()]


def _signals(
    kind: Tensor, contrast: Contrast, bright_flow: bool, generator: torch.Generator
) -> Tensor:
    """Return the mean signal of each voxel's tissue."""
    organ, muscle, void = contrast.organ, contrast.muscle, contrast.void
    flow = void if chance(0.5, generator) else organ
    if bright_flow and chance(0.6, generator):
        flow = muscle * uniform(1, 2, generator)
    means = torch.full((256,), muscle)
    for tissue in (Tissue.FAT, Tissue.VISCERAL_FAT, Tissue.SKIN):
        means[tissue] = contrast.fat
    for tissue in (Tissue.ORGAN, Tissue.KIDNEY, Tissue.BOWEL, Tissue.BRAIN, Tissue.CARTILAGE):
        means[tissue] = organ * uniform(0.7, 1.4, generator)
    for tissue in (Tissue.AIR, Tissue.TABLE):
        means[tissue] = 0.0
    for tissue in (Tissue.LUNG, Tissue.GAS, Tissue.CALCIFICATION):
        means[tissue] = void
    means[Tissue.VESSEL], means[Tissue.CORD] = flow, contrast.cord
    means[Tissue.DISC], means[Tissue.CANAL] = contrast.annulus, contrast.fluid
    return means[kind]


def _marbled(
    image: Tensor, kind: Tensor, contrast: Contrast, voxel_mm: float, generator: torch.Generator
) -> Tensor:
    """Return the image with fat in muscles, and varied viscera."""
    fibres = tuple(max(1.0, mm / voxel_mm) for mm in (20.0, 5.0, 7.0))
    field = random_field(image.shape, fibres, generator)
    steepness, least = uniform(2, 6, generator), uniform(-0.3, 1.8, generator)
    share = torch.sigmoid((field - least) * steepness) * uniform(0.3, 1, generator)
    image = torch.where(
        kind == Tissue.MUSCLE, torch.lerp(image, _full(image, contrast.fat), share), image
    )
    lumps = random_field(image.shape, (uniform(8, 25, generator) / voxel_mm,) * 3, generator)
    viscera = (kind == Tissue.VISCERAL_FAT) | (kind == Tissue.BOWEL)
    signals = torch.tensor(
        [contrast.fat, contrast.organ, contrast.fat, contrast.void, contrast.organ, contrast.fat]
    )
    pieces = signals[((lumps + 1.6) * 1.7).clamp(0, 5).long()]
    return torch.where(viscera, pieces, image)


def _full(image: Tensor, value: float) -> Tensor:
    return torch.full_like(image, value)


def _inside_mm(mask: Tensor, voxel_mm: float) -> Tensor:
    """Return the distance of the voxels of a mask to its surface, zero outside."""
    depth = ndimage.distance_transform_edt(mask.numpy()) * voxel_mm - voxel_mm / 2
    return torch.from_numpy(np.clip(depth, 0, _REACH_MM).astype(np.float32))


def _with_canal(
    image: Tensor, kind: Tensor, contrast: Contrast, patch: Patch, generator: torch.Generator
) -> Tensor:
    """Return the image with fluid, cord or roots, and epidural fat in the canal."""
    canal = (kind == Tissue.CANAL) | (kind == Tissue.CORD)
    if not canal.any():
        return image
    depth_mm = _inside_mm(canal, patch.voxel_mm)
    cord = torch.sigmoid((depth_mm - uniform(2.2, 4.2, generator)) / 0.5)
    above = _above_conus(patch, generator)
    strands = random_field(image.shape, tuple(mm / patch.voxel_mm for mm in (14, 3, 4)), generator)
    roots = torch.sigmoid((strands - uniform(-0.5, 1, generator)) * 4) * uniform(
        0.1, 0.9, generator
    )
    share = torch.where(above, cord, roots * (depth_mm > 1))
    content = contrast.fluid + (contrast.cord - contrast.fluid) * share
    rim = torch.sigmoid((uniform(0.3, 2.2, generator) - depth_mm) / 0.5) * (strands > 0)
    content = torch.lerp(content, _full(image, contrast.fat), rim * uniform(0.2, 1, generator))
    return torch.where(canal, content, image)


def _above_conus(patch: Patch, generator: torch.Generator) -> Tensor:
    """Return a mask of the rows with cord, (D, 1, 1)."""
    rows = torch.arange(patch.target.shape[0])[:, None, None]
    bone = (patch.target > 0) & (patch.target != IGNORE_INDEX)
    heights = bone.float().nonzero()[:, 0].float()
    if not len(heights):
        return rows >= 0
    levels = patch.target[bone].float()
    level, height = levels.mean(), heights.mean()
    spread = (levels - level).square().mean()
    if spread == 0:  # one level
        return rows * 0 + level <= _T12
    # A straight line through the levels says at which height T12 is, in view or not.
    slope = ((levels - level) * heights).mean() / spread
    below_vox = uniform(0, 2 * _CONUS_MM, generator) / patch.voxel_mm
    return rows > height + slope * (_T12 - level) - below_vox


def _with_discs(
    image: Tensor, kind: Tensor, contrast: Contrast, patch: Patch, generator: torch.Generator
) -> Tensor:
    """Return the image with discs, each with its own degeneration."""
    disc = kind == Tissue.DISC
    pieces, count = ndimage.label(disc.numpy())
    if not count:
        return image
    healthy = torch.rand(count + 1, generator=generator) > uniform(0.2, 0.8, generator)
    hydration = torch.rand(count + 1, generator=generator)
    share = torch.where(healthy, 0.5 + 0.7 * hydration, 0.3 * hydration)[torch.from_numpy(pieces)]
    depth_mm = _inside_mm(disc, patch.voxel_mm)
    margin_mm = uniform(1.5, 3.5, generator)
    inner = torch.sigmoid((depth_mm - margin_mm) / uniform(0.5, 1.2, generator)) * share
    signal = contrast.annulus + (contrast.nucleus - contrast.annulus) * inner
    if chance(0.4, generator):  # cleft within the nucleus
        signal = signal * (1 - 0.3 * torch.exp(-(((depth_mm - 5) / 0.8) ** 2)))
    return torch.where(disc, signal, image)


def _with_bones(
    image: Tensor, patch: Patch, contrast: Contrast, generator: torch.Generator
) -> Tensor:
    """Return the image with marrow and cortex of the vertebrae and of other bones."""
    marrow = _marrow(patch, generator)
    shell_mm = uniform(0.55, 1.4, generator) * max(1.0, patch.voxel_mm / 1.8)
    strength = uniform(0.45, 1.0, generator)
    shift_mm = uniform(-0.8, 0.3, generator)
    edge_mm = uniform(0.25, 0.6, generator) * max(1.0, patch.voxel_mm / 1.5)
    for depth_mm in (patch.other_depth_mm, patch.depth_mm):
        if depth_mm is None:
            continue
        image = torch.lerp(image, marrow, torch.sigmoid(depth_mm / edge_mm))
        shell = torch.exp(-(((depth_mm - shift_mm) / shell_mm) ** 2)) * strength
        image = torch.lerp(image, _full(image, contrast.cortex), shell)
    return image


def _marrow(patch: Patch, generator: torch.Generator) -> Tensor:
    """Return the signal of marrow: its own in each level, lumps, haemangiomas, endplate changes."""
    shape, voxel_mm = patch.target.shape, patch.voxel_mm
    levels = torch.where(patch.target == IGNORE_INDEX, 0, patch.target).long()
    marrow = (1 + 0.09 * torch.randn(26, generator=generator))[levels]
    lumps = random_field(shape, (uniform(5, 14, generator) / voxel_mm,) * 3, generator)
    marrow = marrow * (1 + uniform(0.02, 0.22, generator) * lumps)
    marrow = marrow * (1 + uniform(0.02, 0.1, generator) * torch.randn(shape, generator=generator))
    if chance(0.4, generator):
        spots = random_field(shape, (uniform(6, 12, generator) / voxel_mm,) * 3, generator)
        spots = torch.sigmoid(5 * (spots - uniform(1.3, 2.2, generator)))
        marrow = marrow * (1 + uniform(0.3, 1.4, generator) * spots)
    if chance(0.5, generator):
        marrow = marrow * (1 + uniform(-0.5, 0.9, generator) * _endplates(patch, generator))
    return marrow


def _endplates(patch: Patch, generator: torch.Generator) -> Tensor:
    """Return the weight of changes at endplates, from 0 to 1: near some of the discs."""
    disc = _kinds(patch.tissues) == Tissue.DISC
    far = np.full(disc.shape, _REACH_MM, np.float32)
    outside = ndimage.distance_transform_edt(~disc.numpy()) if disc.any() else far
    near = torch.exp(-((torch.from_numpy(outside).float() * patch.voxel_mm / 5) ** 2))
    some = random_field(disc.shape, (uniform(10, 25, generator) / patch.voxel_mm,) * 3, generator)
    return near * torch.sigmoid(4 * (some - uniform(0.2, 1.5, generator)))


def _fatty(kind: Tensor) -> Tensor:
    """Return a mask of fat and of what has half of it: bone."""
    fatty = (Tissue.FAT, Tissue.VISCERAL_FAT, Tissue.CORTICAL, Tissue.TRABECULAR, Tissue.MARROW)
    return torch.isin(kind, kind.new_tensor([int(tissue) for tissue in fatty]))


def _inked(image: Tensor, kind: Tensor, patch: Patch, generator: torch.Generator) -> Tensor:
    """Return the image with dark lines between fat and water, whose signals cancel there."""
    fat = blur(_fatty(kind).float(), 0.5)
    return image * (1 - uniform(0.8, 3.6, generator) * fat * (1 - fat)).clamp_min(0)


def _shifted_fat(
    image: Tensor, kind: Tensor, voxel_mm: float, generator: torch.Generator
) -> Tensor:
    """Return the image with the chemical shift of fat along z or y, by up to 1.5 mm."""
    axis = int(torch.randint(2, (), generator=generator))
    direction = 1 if chance(0.5, generator) else -1
    share = min(1.0, uniform(0.3, 1.5, generator) / voxel_mm)
    fat = image * _fatty(kind)
    return image + share * (torch.roll(fat, direction, axis) - fat)
