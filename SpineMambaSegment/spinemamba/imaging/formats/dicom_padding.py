"""Pixel padding of a DICOM series: voxels outside of the scanner's field of view."""

from __future__ import annotations

import numpy as np

from spinemamba.imaging.formats.dicom_header import (
    BITS_ALLOCATED,
    INTERCEPT,
    PADDING,
    PADDING_LIMIT,
    SIGNED,
    SLOPE,
    Header,
)
from spinemamba.imaging.formats.dicom_stack import Stack

AIR_HU = -1024.0
LEAST_REGION = 64
"""Voxels. Smaller connected regions are noise, because some headers state a value of tissue."""


def fill_padding(array: np.ndarray, stack: Stack) -> np.ndarray:
    """Replace padding by the minimum of the other voxels, in CT by at least -1024 HU (air).

    PixelPaddingValue and PixelPaddingRangeLimit are stored values, before RescaleSlope and
    RescaleIntercept. If they lie within the range of the other voxels, as some headers state, only
    regions that reach the border of a slice count as padding.

    Args:
        array: Values after rescaling, shape (z, y, x).
        stack: The slices, in the same order.

    Returns:
        A copy, or the array itself if it has no padding.
    """
    if not any(header.text(PADDING) for header in stack.slices):
        return array
    ranges = np.array([_padding_range(header) for header in stack.slices])[:, :, None, None]
    padded = (array >= ranges[:, 0]) & (array <= ranges[:, 1])
    if not padded.any() or padded.all():
        return array
    least, most = float(array[~padded].min()), float(array[~padded].max())
    if np.nanmax(ranges[:, 1]) >= least and np.nanmin(ranges[:, 0]) <= most:
        padded = _at_the_border(padded)
    fill = max(least, AIR_HU) if stack.modality == "CT" else least
    return np.where(padded, np.asarray(fill, array.dtype), array)


def _padding_range(header: Header) -> tuple[float, float]:
    """Return the range of padding values after rescaling; NaN if the slice has no padding."""
    values = [
        _stored(header, header.numbers(tag)[0])
        for tag in (PADDING, PADDING_LIMIT)
        if len(header.numbers(tag)) == 1
    ]
    if not header.numbers(PADDING):
        return float("nan"), float("nan")
    slope, intercept = header.number(SLOPE, 1.0), header.number(INTERCEPT, 0.0)
    low, high = sorted(value * slope + intercept for value in (values[0], values[-1]))
    # Rescaled values that are not integers are rounded to float32.
    margin = 1e-3 * abs(slope) + 1e-6 * max(abs(low), abs(high))
    return low - margin, high + margin


def _stored(header: Header, value: float) -> float:
    """Convert a padding value to the signedness of the pixels, which some files mix up."""
    bits = int(header.number(BITS_ALLOCATED, 16))
    wrapped = value % 2**bits
    return wrapped - 2**bits if header.number(SIGNED, 0) and wrapped >= 2 ** (bits - 1) else wrapped


def _at_the_border(padded: np.ndarray) -> np.ndarray:
    """Return the large regions that reach the border of a slice."""
    from scipy import ndimage

    regions, count = ndimage.label(padded)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    edges = (regions[:, [0, -1]], regions[:, :, [0, -1]])
    touching = np.unique(np.concatenate([edge.ravel() for edge in edges]))
    keep = np.zeros(count + 1, bool)
    keep[touching] = sizes[touching] >= LEAST_REGION
    keep[0] = False
    return keep[regions]
