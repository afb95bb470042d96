"""Thumbnails of a case: the side and the front view, small and without text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.image import imsave
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.imaging.curved_planar import View
from spinemamba.report.run_picture import display_window

_MOST_PIXELS = (320, 200)
"""Greatest height and width."""

_OPACITY = 0.35
"""Of the colours of the vertebrae."""


def write_thumbnail(view: View, modality: str, path: Path) -> None:
    """Write a view of `side_and_front` as PNG, atomically.

    Args:
        view: The view.
        modality: "ct" or "mr", for the window of intensities.
        path: File to write.

    Raises:
        UserError: If the file cannot be written.
    """
    pixels = colored(view, modality)
    shrink = min(
        1.0, *(most / size for most, size in zip(_MOST_PIXELS, pixels.shape, strict=False))
    )
    # Averaging first, so that thin cortical bone does not vanish between the kept pixels.
    sigma = 0.4 * (1 / shrink - 1)
    smooth = ndimage.gaussian_filter(pixels, (sigma, sigma, 0))
    small = np.clip(ndimage.zoom(smooth, (shrink, shrink, 1), order=1), 0, 1)
    with whole_or_nothing(path) as partial:
        imsave(partial, (255 * small + 0.5).astype(np.uint8), origin="lower", format="png")


def colored(view: View, modality: str) -> np.ndarray:
    """Return a view with the colours of its vertebrae as RGB in [0, 1], (rows, columns, 3)."""
    low, high = display_window(view, modality)
    grey = np.clip((view.image - low) / max(high - low, 1e-6), 0, 1)
    pixels = np.repeat(grey[..., None], 3, axis=2)
    for value in np.unique(view.labels[view.labels > 0]):
        color = np.array(BY_VALUE[int(value)].color) / 255
        mask = view.labels == value
        pixels[mask] = (1 - _OPACITY) * pixels[mask] + _OPACITY * color
    return pixels
