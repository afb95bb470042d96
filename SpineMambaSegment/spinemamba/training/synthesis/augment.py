"""Augmentations of images (D, H, W): sharpness, resolution, noise and contrast."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.training.data.sampling import convolve

_FIELD_KNOTS = 3
"""Knots of a bias field along each axis."""

_INTERPOLATED = 1.4
"""Interpolation between random knots reduces their standard deviation by this factor."""


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """Return a number from the uniform distribution between ``low`` and ``high``."""
    return float(torch.rand((), generator=generator)) * (high - low) + low


def chance(share: float, generator: torch.Generator) -> bool:
    """Return True with probability ``share``."""
    return float(torch.rand((), generator=generator)) < share


def blur(image: Tensor, sigma_vox: float) -> Tensor:
    """Return the image blurred by a Gaussian with five taps along each axis."""
    offsets = torch.arange(-2, 3, dtype=torch.float32)
    taps = torch.exp(-0.5 * (offsets / sigma_vox) ** 2)
    taps = taps / taps.sum()
    for axis in range(3):
        image = convolve(image, taps, axis)
    return image


def sharpen(image: Tensor, amount: float) -> Tensor:
    """Return the image with enhanced edges, as by a bone reconstruction kernel."""
    return image + amount * (image - blur(image, 1.0))


def lower_resolution(image: Tensor, one_axis: float, generator: torch.Generator) -> Tensor:
    """Return the image at a lower resolution on the same grid.

    The resolution is lower along one axis with the probability ``one_axis``, otherwise along all.
    """
    factor = torch.ones(3)
    if chance(one_axis, generator):
        factor[int(torch.randint(3, (), generator=generator))] = uniform(1.2, 3.0, generator)
    else:
        factor[:] = uniform(1.1, 1.8, generator)
    small = [max(2, round(n / float(f))) for n, f in zip(image.shape, factor, strict=True)]
    return _resize(_resize(image, small), list(image.shape))


def noise(image: Tensor, correlated: float, generator: torch.Generator) -> Tensor:
    """Return the image with white noise.

    With the probability ``correlated``, the noise is that of a smooth reconstruction kernel.
    """
    noise_map = torch.randn(image.shape, generator=generator)
    if chance(correlated, generator):
        noise_map = blur(noise_map, uniform(0.4, 0.8, generator)) * 2
    return image + noise_map * uniform(0.005, 0.08, generator)


def remap(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return the image mapped by a random piecewise linear function with six knots."""
    heights = torch.rand(6, generator=generator) * 2 - 1
    heights[0] = -1.0  # air stays dark in every modality
    position = ((image + 1) * 2.5).clamp(0, 4.999)
    knot = position.long()
    share = position - knot
    return heights[knot] * (1 - share) + heights[knot + 1] * share


def tilt_contrast(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return the image with a gamma of 0.7 to 1.5 and a weak bias field."""
    power = uniform(0.7, 1.5, generator)
    bent = ((image + 1) / 2).clamp(0, 1.25) ** power * 2 - 1
    return shade(bent + 1, 0.1, generator) - 1


def shade(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Return the image multiplied by a bias field, as from coils or beam hardening."""
    knots = torch.randn(_FIELD_KNOTS, _FIELD_KNOTS, _FIELD_KNOTS, generator=generator)
    return image * torch.exp(strength * _resize(knots, list(image.shape)))


def random_field(
    shape: torch.Size, cell_vox: tuple[float, ...], generator: torch.Generator
) -> Tensor:
    """Return a smooth random field with a standard deviation of about 1.

    Args:
        shape: Shape of the field, (D, H, W).
        cell_vox: Distance of its knots along each axis.
        generator: Random generator.
    """
    knots = [max(2, int(n / cell) + 1) for n, cell in zip(shape, cell_vox, strict=True)]
    values = torch.randn(1, 1, *knots, generator=generator)
    field = functional.interpolate(values, list(shape), mode="trilinear", align_corners=True)
    return field[0, 0] * _INTERPOLATED


def grain(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return random texture at two scales, with a standard deviation of about 1."""
    fine = torch.randn(shape, generator=generator)
    small = [max(2, n // 4) for n in shape]
    return 0.6 * fine + 0.8 * _resize(torch.randn(small, generator=generator), list(shape))


def _resize(image: Tensor, shape: list[int]) -> Tensor:
    return functional.interpolate(image[None, None], shape, mode="trilinear")[0, 0]
