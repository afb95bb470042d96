"""Synthesis of images from tissue maps, and random variation of real images."""

from __future__ import annotations

import torch
from torch import Tensor

from spinemamba.imaging.intensity import CT_WINDOW_HU
from spinemamba.imaging.local_mean import divided_by_local_mean
from spinemamba.phantom.tissue import CT_HU, MR_T1, MR_T2, Tissue
from spinemamba.training.data.dataset import IGNORE_INDEX, MR_UNITS
from spinemamba.training.data.patches import Patch
from spinemamba.training.data.structures import similar_tissues
from spinemamba.training.synthesis.augment import (
    blur,
    chance,
    grain,
    lower_resolution,
    noise,
    remap,
    shade,
    sharpen,
    tilt_contrast,
    uniform,
)
from spinemamba.training.synthesis.implants import add_implants
from spinemamba.training.synthesis.mr_tissue import paint_sagittal_mr
from spinemamba.training.synthesis.options import DEFAULT_SYNTHESIS, SynthesisOptions
from spinemamba.training.synthesis.organs import fill_organs

_OTHER_HU = (250.0, 900.0)
"""Range for a tissue that `CT_HU` does not list: bones other than the spine."""

_BESIDE_BONE_HU = 70.0
"""Mean of cartilage and joint capsules between touching bones."""


_Bone = tuple[tuple[float, float], tuple[float, float]]
"""Mean and standard deviation of trabecular bone and of cortex."""


def paint(
    patch: Patch, generator: torch.Generator, options: SynthesisOptions = DEFAULT_SYNTHESIS
) -> Tensor:
    """Return a normalised image of a patch, float32 (D, H, W).

    A real image, CT or MR, is used with varied contrast; a tissue map is painted as CT, as MR or
    with random contrasts; a case with both is treated in either way at random. Blur, resolution and
    noise are applied afterwards, so that partial volume results from the image, not from the
    labels.

    Args:
        patch: Patch with an image, tissues or both.
        generator: Random generator; the same state and options give the same image.
        options: Probabilities of the steps.
    """
    whole = patch.image is not None and patch.known_image is None
    painted = not whole or (patch.tissues is not None and chance(options.painted, generator))
    if painted:
        image = _paint_tissues(patch, options, generator)
    elif patch.modality == "mr":
        image = _flattened(patch.image / MR_UNITS, patch, options)
        if options.varied >= 1 or chance(options.varied, generator):
            image = _vary_signal(image, generator)
    else:
        varied = options.varied >= 1 or chance(options.varied, generator)
        image = _normalise(_vary_hu(patch.image, generator) if varied else patch.image)
        image = _implanted(image, patch, options, generator)
        if chance(options.remapped, generator):
            image = remap(image, generator)
    if patch.slices is not None:
        image = patch.slices.of(image)
    if chance(options.blurred_painted if painted else options.blurred_real, generator):
        image = blur(image, uniform(0.3, 0.9, generator))
    if chance(options.sharpened, generator):
        image = sharpen(image, uniform(0.3, 1.2, generator))
    if chance(options.low_resolution, generator):
        image = lower_resolution(image, options.low_along_one_axis, generator)
    if chance(options.tilted_contrast, generator):
        image = tilt_contrast(image, generator)
    if chance(options.noisy, generator):
        image = noise(image, options.correlated_noise, generator)
    return image


def _paint_tissues(patch: Patch, options: SynthesisOptions, generator: torch.Generator) -> Tensor:
    kind = float(torch.rand((), generator=generator))
    if kind < options.ct:
        image = _normalise(_paint_ct(patch, options, generator))
        return _implanted(image, patch, options, generator)
    if kind < options.ct + options.mr:
        return _paint_mr(patch, options, generator)
    return _paint_any(patch, generator)


def _implanted(
    image: Tensor, patch: Patch, options: SynthesisOptions, generator: torch.Generator
) -> Tensor:
    if not chance(options.implants, generator):
        return image
    bone = (patch.target > 0) & (patch.target != IGNORE_INDEX)
    return add_implants(image, bone, generator)


def _paint_ct(patch: Patch, options: SynthesisOptions, generator: torch.Generator) -> Tensor:
    """Return a CT of a patch in HU."""
    means, spreads = torch.zeros(256), torch.zeros(256)
    for tissue in Tissue:
        low, high = CT_HU.get(tissue, _OTHER_HU)
        means[tissue] = uniform(low, high, generator)
        spreads[tissue] = uniform(5, 40, generator)
    trabecular = uniform(20, 280, generator)
    cortical = trabecular + uniform(250, 900, generator)
    means[Tissue.MARROW] = trabecular
    means[Tissue.CORTICAL] = means[Tissue.TRABECULAR] = _BESIDE_BONE_HU
    is_body = patch.other_depth_mm is not None
    if is_body:
        fill_organs(means, spreads, generator)
    image = _fill(patch.tissues, means, spreads, generator)
    inside = (trabecular, uniform(20, 90, generator)), (cortical, uniform(40, 160, generator))
    image = _add_bones(image, patch, inside, generator)
    if patch.known_image is None or not chance(options.known_shown, generator):
        return image
    return _with_known(image, patch, generator)


_UNKNOWN_BONE_HU = (90.0, 190.0)
"""Range of the mean of bone in which a scan without its darker voxels does not show anything."""


def _with_known(image: Tensor, patch: Patch, generator: torch.Generator) -> Tensor:
    """Return a painted CT with the known voxels of the real one."""
    known = patch.known_image
    dark = uniform(*_UNKNOWN_BONE_HU, generator)
    dark = dark + uniform(10, 40, generator) * grain(image.shape, generator)
    bone = torch.maximum(patch.depth_mm, patch.other_depth_mm) > 0.3
    image = torch.where(bone, dark, image)
    # At the border of the known part, its values are means with the zeros beside it.
    return torch.where(known > 0.5, patch.image / known.clamp_min(0.05), image)


def _flattened(image: Tensor, patch: Patch, options: SynthesisOptions) -> Tensor:
    """Return a normalised MR divided by its local mean, if the options say so."""
    if options.local_mean < 1:
        return image
    return divided_by_local_mean((image + 1).clamp_min(0), (patch.voxel_mm,) * 3)


def _paint_mr(patch: Patch, options: SynthesisOptions, generator: torch.Generator) -> Tensor:
    """Return a painted MR in the normalised range."""
    if options.sagittal and chance(options.sagittal, generator):
        signal = paint_sagittal_mr(patch, generator)
        if options.local_mean >= 1:
            return divided_by_local_mean(signal, (patch.voxel_mm,) * 3)
        bright = torch.quantile(signal[::2, ::2, ::2].reshape(-1), 0.99)
        return (signal * 2 / bright.clamp_min(1e-6) - 1).clamp(-1, 1.5)
    return _flattened(_paint_simple_mr(patch, options, generator), patch, options)


def _paint_simple_mr(patch: Patch, options: SynthesisOptions, generator: torch.Generator) -> Tensor:
    """Return a T1 or T2 weighted image, with or without fat suppression, in [-1, 1.5]."""
    table = MR_T1 if chance(options.t1, generator) else MR_T2
    fat = uniform(0.05, 0.4, generator) if chance(options.fat_suppressed, generator) else 1.0
    means = torch.full((256,), 0.03)
    for tissue, signal in table.items():
        means[tissue] = signal * uniform(0.85, 1.15, generator)
    for value, tissue in similar_tissues().items():
        means[value] = means[tissue]
    for fatty in (Tissue.FAT, Tissue.VISCERAL_FAT, Tissue.TRABECULAR, Tissue.MARROW):
        means[fatty] *= fat
    trabecular = float(means[Tissue.TRABECULAR])
    means[Tissue.CORTICAL] = means[Tissue.TRABECULAR] = means[Tissue.MUSCLE]
    spreads = means * 0.12
    image = _fill(patch.tissues, means, spreads, generator)
    inside = (trabecular, 0.1 * trabecular), (uniform(0.02, 0.15, generator), 0.02)
    image = _add_bones(image, patch, inside, generator)
    level = uniform(0.01, 0.06, generator)
    parts = torch.randn(2, *image.shape, generator=generator) * level
    image = torch.hypot(shade(image, 0.3, generator) + parts[0], parts[1])  # Rician noise
    return (image * 2 / uniform(0.8, 1.2, generator) - 1).clamp(-1, 1.5)


def _paint_any(patch: Patch, generator: torch.Generator) -> Tensor:
    """Return an image with a random mean for each tissue, in the normalised range."""
    means = torch.rand(256, generator=generator) * 2 - 1
    spreads = torch.rand(256, generator=generator) * 0.15
    means[Tissue.AIR] = -1.0
    inside = tuple(
        (uniform(-1, 1, generator), uniform(0, 0.15, generator)) for _ in ("trabecular", "cortical")
    )
    image = _fill(patch.tissues, means, spreads, generator)
    return _add_bones(image, patch, inside, generator).clamp(-1, 1.5)


def _fill(tissues: Tensor, means: Tensor, spreads: Tensor, generator: torch.Generator) -> Tensor:
    """Return the mean of each voxel's tissue, with texture."""
    index = tissues.long()
    return means[index] + spreads[index] * grain(tissues.shape, generator)


def _add_bones(image: Tensor, patch: Patch, inside: _Bone, generator: torch.Generator) -> Tensor:
    """Return the image with the vertebrae of a patch, and with the other bones of a body."""
    if patch.other_depth_mm is not None:
        image = _add_bone(blur(image, 0.8), patch.other_depth_mm, patch.voxel_mm, inside, generator)
    return _add_bone(image, patch.depth_mm, patch.voxel_mm, inside, generator)


_WIDE_VOXEL_MM = 2.0
"""Larger voxels are wider than cortex, which they show as a mean with what is beside it."""


def _add_bone(
    image: Tensor, depth_mm: Tensor, voxel_mm: float, inside: _Bone, generator: torch.Generator
) -> Tensor:
    """Return the image with vertebrae: a cortex with a smooth transition to trabecular bone.

    Cortex is thinner than a voxel. As a function of depth, its brightness follows its partial
    volume, whereas a layer of cortical voxels would have gaps and be too bright.

    Args:
        image: Image without bone, (D, H, W).
        depth_mm: Depth in bone, negative outside, (D, H, W).
        voxel_mm: Voxel spacing.
        inside: Mean and standard deviation of trabecular bone and of cortex.
        generator: Random generator.
    """
    (trabecular, trabecular_spread), (cortical, cortical_spread) = inside
    shell_mm, edge_mm = uniform(0.5, 1.5, generator), uniform(0.2, 0.5, generator)
    cortex = 1.0
    if voxel_mm > _WIDE_VOXEL_MM:
        wide_mm = max(shell_mm, voxel_mm / 2)
        cortex, shell_mm, edge_mm = shell_mm / wide_mm, wide_mm, max(edge_mm, voxel_mm / 4)
    shell = cortex * torch.exp(-((depth_mm.clamp_min(0) / shell_mm) ** 2))
    texture = grain(image.shape, generator)
    bone = trabecular + trabecular_spread * texture
    # The texture varies the brightness of the cortex, as a varying thickness would.
    bone = bone + (cortical - bone + cortical_spread * texture) * shell
    return torch.lerp(image, bone, torch.sigmoid(depth_mm / edge_mm))


def _vary_hu(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return a real scan with varied calibration, and a varied density above 100 HU."""
    gain = uniform(0.85, 1.2, generator)
    shift = uniform(-30, 30, generator)
    dense = (image - 100).clamp_min(0) * (uniform(0.7, 1.4, generator) - 1)
    return image * gain + shift + dense


def _vary_signal(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return a real MR, normalised, with a bias field and a varied brightness and contrast."""
    gain = uniform(0.85, 1.15, generator)
    shaded = shade((image + 1) * gain, 0.2, generator) - 1 + uniform(-0.1, 0.1, generator)
    return shaded.clamp(-1, 1.5)


def _normalise(hu: Tensor) -> Tensor:
    low, high = CT_WINDOW_HU
    return (hu.clamp(low, high) - low) * (2 / (high - low)) - 1
