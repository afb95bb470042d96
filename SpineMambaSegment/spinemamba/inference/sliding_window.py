"""Sliding windows: their positions, and the weighted mean of their outputs."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from spinemamba.imaging.volume import Box


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Return the start of each window such that windows cover an axis evenly.

    Args:
        length: Axis length in voxels.
        window: Window length in voxels.
        overlap: Minimum overlap of neighbours, as a fraction of the window, in [0, 1).

    Returns:
        First voxel of each window, ascending; ``[0]`` if the axis fits in one window. The last
        window ends at ``length``.

    Raises:
        ValueError: If ``overlap`` is outside [0, 1).
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be in [0, 1), got {overlap}")
    if length <= window:
        return [0]
    count = math.ceil((length - window) / (window * (1 - overlap))) + 1
    return [round(k * (length - window) / (count - 1)) for k in range(count)]


def window_boxes(
    shape: tuple[int, int, int],
    window_vox: tuple[int, int, int],
    overlap: float,
    mask: np.ndarray | None = None,
) -> list[Box]:
    """Return the windows that cover a volume or a mask.

    Args:
        shape: Size of the volume (z, y, x); each axis at least as long as the window.
        window_vox: Size of a window (z, y, x).
        overlap: As in `window_starts`.
        mask: Voxels to cover, bool, of shape ``shape``; None for all.

    Returns:
        Boxes in ascending order of z. With a mask, windows cover the bounding box of each slab of
        the mask, so that a curved spine needs few of them.
    """
    if mask is None:
        starts = [window_starts(n, w, overlap) for n, w in zip(shape, window_vox, strict=True)]
        return [_box(corner, window_vox) for corner in itertools.product(*starts)]
    boxes = []
    rows = np.flatnonzero(mask.any(axis=(1, 2)))
    if not rows.size:
        return []
    for z in _covering_starts(rows, shape[0], window_vox[0], overlap):
        slab = mask[z : z + window_vox[0]]
        if not slab.any():
            continue
        axes = [np.flatnonzero(slab.any(axis=other)) for other in ((0, 2), (0, 1))]
        starts = [
            _covering_starts(axes[k], shape[k + 1], window_vox[k + 1], overlap) for k in (0, 1)
        ]
        boxes += [
            box
            for y, x in itertools.product(*starts)
            if mask[(box := _box((z, y, x), window_vox))].any()
        ]
    return boxes


def _covering_starts(indices: np.ndarray, length: int, window: int, overlap: float) -> list[int]:
    """Return window starts that cover the given indices and stay inside the axis."""
    first, last = int(indices[0]), int(indices[-1]) + 1
    if last - first <= window:
        centred = (first + last - window) // 2
        return [min(max(centred, 0), length - window)]
    return [min(first + s, length - window) for s in window_starts(last - first, window, overlap)]


def _box(corner: tuple[int, ...], window_vox: tuple[int, int, int]) -> Box:
    z, y, x = (slice(int(c), int(c) + w) for c, w in zip(corner, window_vox, strict=True))
    return z, y, x


def importance_map(window_vox: tuple[int, int, int]) -> torch.Tensor:
    """Return the weight of each voxel of a window: a Gaussian, sigma 1/8 of each side.

    Predictions are less accurate near the border of a window (nnU-Net, section "inference"). The
    weights are at least 1e-3, so that voxels covered only by borders get a prediction.

    Returns:
        Weights of shape ``window_vox``, float32, at most 1.
    """
    profiles = []
    for n in window_vox:
        offset = (torch.arange(n, dtype=torch.float32) - (n - 1) / 2) / (n / 8)
        profiles.append(torch.exp(-0.5 * offset**2))
    z, y, x = profiles
    return (z[:, None, None] * y[None, :, None] * x[None, None, :]).clamp_min(1e-3)


class WindowAggregator:
    """Weighted mean of overlapping windows that arrive in the order of their first slice.

    Slices before the first slice of a window are complete. They are returned, and their place in
    the buffer is reused. The buffer is one window high, so that the logits of the whole volume,
    a hundred bytes per voxel, are never held.

    Args:
        channels: Values per voxel.
        shape: Size of the volume (z, y, x).
        window_vox: Size of the windows (z, y, x).
    """

    def __init__(
        self, channels: int, shape: tuple[int, int, int], window_vox: tuple[int, int, int]
    ):
        self._shape, self._height = shape, window_vox[0]
        self._sum = torch.zeros(channels, self._height, *shape[1:])
        self._weight = torch.zeros(self._height, *shape[1:])
        self._importance = importance_map(window_vox)
        self._first = 0  # index in the volume of the first slice of the buffer

    def add(self, box: Box, values: torch.Tensor) -> None:
        """Add the output of one window.

        Args:
            box: Position of the window.
            values: Output of the network, (channels, *window).

        Raises:
            ValueError: If the window covers slices that are finished.
        """
        z, y, x = box
        start = z.start - self._first
        if not 0 <= start <= self._height - (z.stop - z.start):
            raise ValueError(f"window at slice {z.start}, buffer at {self._first}")
        here = (slice(start, start + z.stop - z.start), y, x)
        self._sum[(slice(None), *here)].addcmul_(values.float().cpu(), self._importance)
        self._weight[here] += self._importance

    def finish(self, stop: int) -> Slab | None:
        """Return the slices before ``stop`` and free their place in the buffer.

        Returns:
            The slices; None if there are none, or no window covers them.
        """
        count = min(stop, self._shape[0]) - self._first
        filled = min(count, self._height)
        if count <= 0:
            return None
        first, self._first = self._first, self._first + count
        weight = self._weight[:filled]
        mean = self._sum[:, :filled] / weight.clamp_min(1e-6)
        slab = Slab(slice(first, first + filled), mean, weight > 0)
        for buffer, axis in ((self._sum, 1), (self._weight, 0)):
            remaining = buffer.narrow(axis, filled, self._height - filled).clone()
            buffer.zero_()
            buffer.narrow(axis, 0, self._height - filled).copy_(remaining)
        return slab if slab.covered.any() else None


@dataclass(frozen=True)
class Slab:
    """Finished slices of a volume.

    Attributes:
        slices: Range of z in the volume.
        mean: Weighted mean (channels, slices, y, x); 0 where no window lay.
        covered: Mask of the voxels covered by a window, bool (slices, y, x).
    """

    slices: slice
    mean: torch.Tensor
    covered: torch.Tensor
