"""CT and MR images from tissue maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.imaging.volume import Volume
from spinemamba.phantom.tissue import CT_HU, MR_T1, MR_T2, OTHER_BONE, Tissue


@dataclass(frozen=True)
class PaintOptions:
    """Appearance of a phantom; None means drawn at random.

    Attributes:
        noise_hu: Standard deviation of the noise.
        density: Density of trabecular bone from 0 (osteoporotic) to 1 (young).
        blur_mm: Standard deviation of the point spread function.
        contrast: Whether vessels and kidneys are enhanced by contrast agent.
    """

    noise_hu: float | None = None
    density: float | None = None
    blur_mm: float | None = None
    contrast: bool | None = None


def paint_ct(
    tissues: Volume,
    rng: np.random.Generator,
    options: PaintOptions = PaintOptions(),
) -> np.ndarray:
    """Return a CT image of a tissue map.

    Args:
        tissues: Values of `Tissue`.
        rng: Random generator.
        options: Appearance.

    Returns:
        Hounsfield units, int16, the shape of ``tissues``. Partial volume results from blurring
        the image, not from the labels.
    """
    means = _ct_means(rng, options)
    # Cortex thinner than a voxel is painted one voxel thick, with reduced brightness.
    share = min(1.0, 1.1 / float(np.prod(tissues.spacing_mm) ** (1 / 3)))
    for dense in (Tissue.CORTICAL, *OTHER_BONE):
        means[dense] = share * means[dense] + (1 - share) * means[Tissue.TRABECULAR]
    spread = np.full(256, 8.0, np.float32)
    spread[Tissue.TRABECULAR] = spread[Tissue.MARROW] = rng.uniform(25, 60)
    spread[Tissue.CORTICAL] = rng.uniform(80, 150)
    spread[list(OTHER_BONE)] = 150.0
    spread[Tissue.LUNG], spread[Tissue.BOWEL] = 45.0, 25.0
    spread[Tissue.AIR] = 1.0
    image = means[tissues.array]
    image += spread[tissues.array] * _grain(tissues.array.shape, rng)
    sigma_mm = options.blur_mm if options.blur_mm is not None else rng.uniform(0.5, 1.1)
    image = _blur(image, tissues.spacing_mm, sigma_mm)
    noise = options.noise_hu if options.noise_hu is not None else rng.uniform(8, 35)
    image += np.float32(noise) * _correlated_noise(image.shape, tissues.spacing_mm, rng)
    return np.clip(np.round(image), -1024, 3071).astype(np.int16)


def _ct_means(rng: np.random.Generator, options: PaintOptions) -> np.ndarray:
    means = np.zeros(256, np.float32)
    for tissue, (low, high) in CT_HU.items():
        means[tissue] = rng.uniform(low, high)
    density = options.density if options.density is not None else rng.uniform()
    means[Tissue.TRABECULAR] = 60 + 190 * density
    means[Tissue.CORTICAL] = 500 + 420 * density + rng.uniform(-60, 60)
    means[list(OTHER_BONE)] = means[Tissue.CORTICAL] * rng.uniform(0.85, 1.15, len(OTHER_BONE))
    means[Tissue.MARROW] = means[Tissue.TRABECULAR] * rng.uniform(0.4, 1.1)
    contrast = options.contrast if options.contrast is not None else rng.uniform() < 0.5
    if not contrast:
        means[Tissue.VESSEL], means[Tissue.KIDNEY] = rng.uniform(35, 50), rng.uniform(28, 38)
    return means


def paint_mr(
    tissues: Volume,
    rng: np.random.Generator,
    options: PaintOptions = PaintOptions(),
) -> np.ndarray:
    """Return a T1- or T2-weighted MR image with a bias field and Rician noise.

    Returns:
        Arbitrary units, int16, not negative, the shape of ``tissues``.
    """
    table = MR_T1 if rng.uniform() < 0.5 else MR_T2
    means = np.full(256, 0.03, np.float32)
    for tissue, signal in table.items():
        means[tissue] = signal * rng.uniform(0.85, 1.15)
    image = means[tissues.array] * (1 + 0.08 * _grain(tissues.array.shape, rng))
    image = _blur(image, tissues.spacing_mm, options.blur_mm or 0.8)
    depth, rows, columns = image.shape
    field = rng.standard_normal((4, 4, 4))
    zoom = [n / 4 for n in (depth, rows, columns)]
    bias = ndimage.zoom(field, zoom, order=1).astype(np.float32)[:depth, :rows, :columns]
    image *= np.exp(0.15 * bias)
    level = np.float32(0.02 if options.noise_hu is None else options.noise_hu / 1000)
    parts = rng.standard_normal((2, *image.shape), dtype=np.float32) * level
    image = np.hypot(image + parts[0], parts[1])
    return np.round(image * rng.uniform(400, 1200)).astype(np.int16)


def _grain(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return random texture at two scales, with a standard deviation of about 1."""
    fine = rng.standard_normal(shape, dtype=np.float32)
    small = [max(2, -(-n // 3)) for n in shape]
    coarse = rng.standard_normal(small, dtype=np.float32)
    for axis, n in enumerate(shape):
        coarse = np.take(coarse, np.arange(n) // 3, axis=axis)
    return 0.7 * fine + 0.7 * coarse


def _blur(image: np.ndarray, spacing_mm: tuple[float, ...], sigma_mm: float) -> np.ndarray:
    sigma = [sigma_mm / s for s in spacing_mm]
    return ndimage.gaussian_filter(image, sigma, truncate=2.5)


def _correlated_noise(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], rng: np.random.Generator
) -> np.ndarray:
    """Return noise with standard deviation 1, correlated in plane as by reconstruction kernels."""
    white = rng.standard_normal(shape, dtype=np.float32)
    sigma = (0.0, 0.7 / spacing_mm[1], 0.7 / spacing_mm[2])
    smooth = ndimage.gaussian_filter(white, sigma, truncate=2.0)
    return smooth / max(float(smooth[:: max(1, shape[0] // 8)].std()), 1e-6)
