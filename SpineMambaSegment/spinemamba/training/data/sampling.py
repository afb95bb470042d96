"""Samples of the fields of a case at the voxels of a patch.

A patch has larger voxels than its case, or the same. If its axes are those of the case, it is
resampled with the weights that `imaging.resample` uses when a scan is segmented. Otherwise the
voxels of the case are first averaged over the size of those of the patch, and then interpolated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.imaging.resample import axis_weights

_SAME_SIZE = 1.05
"""Voxels of a patch that are larger by less are not averaged."""


@dataclass(frozen=True)
class SamplingPoints:
    """Where the voxels of a patch lie in a case.

    Attributes:
        points: Position of each voxel in voxels of the case, (D, H, W, 3), inside of the view.
        size_vox: Size of a voxel of the patch along each axis of the case, in its voxels.
        parallel: Whether the axes of the patch are those of the case.
        first: First voxel in view along each axis; none before it is read.
        last: Last voxel in view along each axis.
    """

    points: Tensor
    size_vox: tuple[float, float, float]
    parallel: bool
    first: Tensor
    last: Tensor

    def nearest(self, values: Tensor) -> Tensor:
        """Return the nearest values, (D, H, W)."""
        return values[self.points.round().long().unbind(-1)]

    def linear(self, values: Tensor) -> Tensor:
        """Return means over the voxels of the patch, float32 (D, H, W)."""
        first, last = self.first.ceil().long(), self.last.floor().long()
        view = tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
        if self.parallel:
            return self._separable(values[view], first)
        return self._averaged(values[view], self.points - first)

    def _separable(self, values: Tensor, first: Tensor) -> Tensor:
        lines = (self.points[:, 0, 0, 0], self.points[0, :, 0, 1], self.points[0, 0, :, 2])
        weights, box = [], []
        for axis, line in enumerate(lines):
            matrix = axis_weights(
                values.shape[axis], (line - first[axis]).double().numpy(), self.size_vox[axis]
            )
            used = np.flatnonzero(matrix.any(axis=0))
            box.append(slice(int(used[0]), int(used[-1]) + 1))
            weights.append(torch.from_numpy(np.ascontiguousarray(matrix[:, box[-1]])))
        out = values[tuple(box)].float()
        for axis in sorted(range(3), key=lambda a: weights[a].shape[0] / weights[a].shape[1]):
            out = along_axis(out, weights[axis], axis)
        return out

    def _averaged(self, values: Tensor, points: Tensor) -> Tensor:
        limits = torch.tensor(values.shape) - 1
        reach = torch.tensor([math.ceil(size / 2 + 1) for size in self.size_vox])
        low = (points.amin(dim=(0, 1, 2)).floor().long() - reach).clamp_min(0).minimum(limits)
        high = (points.amax(dim=(0, 1, 2)).ceil().long() + reach).clamp_min(0).minimum(limits)
        box = tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
        part = values[box].float()
        for axis, size in enumerate(self.size_vox):
            if size > _SAME_SIZE:
                part = _averaged_along(part, size, axis)
        extent = torch.tensor(part.shape, dtype=torch.float32)
        unit = (points - low) * 2 / (extent - 1).clamp_min(1) - 1
        sampled = functional.grid_sample(
            part[None, None],
            unit.flip(-1)[None],
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
        return sampled[0, 0]


def along_axis(values: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Return ``values`` (D, H, W) with one axis multiplied by weights (n_out, n_in)."""
    return torch.tensordot(weights, values.movedim(axis, 0), dims=1).movedim(0, axis)


def _averaged_along(values: Tensor, size_vox: float, axis: int) -> Tensor:
    """Return the mean of the interpolated line over a length around each voxel of an axis."""
    reach = math.ceil(size_vox / 2 + 1)
    taps = axis_weights(2 * reach + 1, np.array([float(reach)]), size_vox)[0]
    return convolve(values, torch.from_numpy(taps), axis)


def convolve(image: Tensor, taps: Tensor, axis: int) -> Tensor:
    """Return an image (D, H, W) convolved with an odd number of taps; the border is repeated."""
    # Sums of shifted images: ten times faster than conv3d for one channel on a CPU.
    reach = len(taps) // 2
    length = image.shape[axis]
    index = torch.arange(-reach, length + reach).clamp(0, length - 1)
    padded = image.index_select(axis, index)
    out = torch.zeros_like(image)
    for k, tap in enumerate(taps):
        out.add_(padded.narrow(axis, k, length), alpha=float(tap))
    return out
