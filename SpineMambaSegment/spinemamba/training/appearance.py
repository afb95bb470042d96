"""What a scanner makes of tissues, and how scans differ: all as tensor operations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.intensity import CT_WINDOW_HU
from spinemamba.phantom.tissue import CT_HU, Tissue
from spinemamba.training.sample import Patch

OTHER_HU = (250.0, 900.0)
"""Range for a tissue that `CT_HU` does not list: bones other than the spine."""

CT_SHARE = 0.75
"""Share of painted patches that look like CT; the others get random contrasts (SynthSeg)."""

REMAP_SHARE = 0.12
"""Share of images whose contrast is turned into one that no CT has, on the way to MR."""


def paint(patch: Patch, generator: torch.Generator) -> Tensor:
    """Return a normalised image of a patch, float32 (D, H, W).

    An image is kept, apart from its contrast; a tissue map is painted, as CT or with random
    contrasts; a case that has both goes either way. Blur, resolution and noise come on top, so
    that partial volume arises from the image and never from the labels.
    """
    painted = patch.image is None or (patch.tissues is not None and _chance(0.6, generator))
    if painted:
        as_ct = _chance(CT_SHARE, generator)
        image = _paint_ct(patch.tissues, generator) if as_ct else _paint_any(patch, generator)
    else:
        image = _normalise(_vary_hu(patch.image, generator))
        if _chance(REMAP_SHARE, generator):
            image = _remap(image, generator)
    if painted or _chance(0.3, generator):
        image = _blur(image, _uniform(0.3, 1.0, generator))
    if _chance(0.35, generator):
        image = _lower_resolution(image, generator)
    if _chance(0.5, generator):
        image = _noise(image, generator)
    return image


def _paint_ct(tissues: Tensor, generator: torch.Generator) -> Tensor:
    means, spreads = torch.zeros(256), torch.zeros(256)
    for tissue in Tissue:
        low, high = CT_HU.get(tissue, OTHER_HU)
        means[tissue] = _uniform(low, high, generator)
        spreads[tissue] = _uniform(5, 40, generator)
    means[Tissue.MARROW] = means[Tissue.TRABECULAR]
    spreads[Tissue.TRABECULAR] = _uniform(20, 90, generator)
    return _normalise(_fill(tissues, means, spreads, generator))


def _paint_any(patch: Patch, generator: torch.Generator) -> Tensor:
    """Paint every tissue with a random mean in the normalised range: no modality at all."""
    means = torch.rand(256, generator=generator) * 2 - 1
    spreads = torch.rand(256, generator=generator) * 0.15
    means[Tissue.AIR] = -1.0
    return _fill(patch.tissues, means, spreads, generator).clamp(-1, 1.5)


def _fill(tissues: Tensor, means: Tensor, spreads: Tensor, generator: torch.Generator) -> Tensor:
    """Give every voxel its tissue's mean, and texture of two grain sizes."""
    index = tissues.long()
    fine = torch.randn(tissues.shape, generator=generator)
    small = [max(2, n // 4) for n in tissues.shape]
    grain = torch.randn(1, 1, *small, generator=generator)
    coarse = functional.interpolate(grain, tissues.shape, mode="trilinear")[0, 0]
    return means[index] + spreads[index] * (0.6 * fine + 0.8 * coarse)


def _vary_hu(image: Tensor, generator: torch.Generator) -> Tensor:
    """Vary a real scan: calibration, bone density, and now and then contrast agent's range."""
    gain = _uniform(0.85, 1.2, generator)
    shift = _uniform(-30, 30, generator)
    dense = (image - 100).clamp_min(0) * (_uniform(0.7, 1.4, generator) - 1)
    return image * gain + shift + dense


def _remap(image: Tensor, generator: torch.Generator) -> Tensor:
    """Send the grey values through a random broken line of six knots."""
    heights = torch.rand(6, generator=generator) * 2 - 1
    heights[0] = -1.0  # air stays dark in every modality
    position = ((image + 1) * 2.5).clamp(0, 4.999)
    knot = position.long()
    share = position - knot
    return heights[knot] * (1 - share) + heights[knot + 1] * share


def _normalise(hu: Tensor) -> Tensor:
    low, high = CT_WINDOW_HU
    return (hu.clamp(low, high) - low) * (2 / (high - low)) - 1


def _blur(image: Tensor, sigma_vox: float) -> Tensor:
    """Blur with a Gaussian of five taps along each axis."""
    offsets = torch.arange(-2, 3, dtype=torch.float32)
    taps = torch.exp(-0.5 * (offsets / sigma_vox) ** 2)
    taps = taps / taps.sum()
    for axis in range(3):
        image = _convolve(image, taps, axis)
    return image


def _convolve(image: Tensor, taps: Tensor, axis: int) -> Tensor:
    # Shifted sums instead of conv3d: ten times faster for one channel on a CPU.
    reach = len(taps) // 2
    length = image.shape[axis]
    index = torch.arange(-reach, length + reach).clamp(0, length - 1)
    padded = image.index_select(axis, index)
    out = torch.zeros_like(image)
    for k, tap in enumerate(taps):
        out.add_(padded.narrow(axis, k, length), alpha=float(tap))
    return out


def _lower_resolution(image: Tensor, generator: torch.Generator) -> Tensor:
    """Sample thicker slices or larger pixels and come back, as an upsampled scan looks."""
    factor = torch.ones(3)
    if _chance(0.6, generator):
        factor[int(torch.randint(3, (), generator=generator))] = _uniform(1.2, 3.0, generator)
    else:
        factor[:] = _uniform(1.1, 1.8, generator)
    small = [max(2, round(n / float(f))) for n, f in zip(image.shape, factor, strict=True)]
    low = functional.interpolate(image[None, None], small, mode="trilinear")
    return functional.interpolate(low, image.shape, mode="trilinear")[0, 0]


def _noise(image: Tensor, generator: torch.Generator) -> Tensor:
    """Add noise with the grain of a reconstruction kernel."""
    noise = torch.randn(image.shape, generator=generator)
    if _chance(0.5, generator):
        noise = _blur(noise, _uniform(0.4, 0.8, generator)) * 2
    return image + noise * _uniform(0.005, 0.08, generator)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator)) * (high - low) + low


def _chance(share: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator)) < share
