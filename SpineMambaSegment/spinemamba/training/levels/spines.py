"""Spines of training cases: the vertebrae with their frames, from head to tail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.imaging.vertebra_crops import vertebra_frames
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.training.data.dataset import IGNORE_INDEX, Case

SPACING_MM = 2.0
"""Voxel spacing of the cases; that of the crops."""

SACRUM = "Sacrum"

_COMPLETE_SHARE = 0.7
"""Least volume of a complete vertebra relative to the median of its neighbours."""


@dataclass(frozen=True)
class Spine:
    """The vertebrae of a case, from head to tail.

    Attributes:
        case: Case with the image or tissues.
        levels: Name of each vertebra, (n,).
        channels: Network channel of each vertebra, (n,).
        centres_vox: Centre of each vertebral body in voxels of the case, (n, 3).
        axes: Unit vectors (z, y, x) upwards along the spine, to the back and to the left, as rows;
            (n, 3, 3).
        complete: Whether each vertebra is complete; one that the field of view cuts has no reliable
            centre.
    """

    case: Case
    levels: tuple[str, ...]
    channels: Tensor
    centres_vox: Tensor
    axes: Tensor
    complete: tuple[bool, ...]

    @property
    def usable(self) -> tuple[int, int]:
        """First complete vertebra, and the one after the last complete one."""
        inside = [k for k, whole in enumerate(self.complete) if whole]
        return inside[0], inside[-1] + 1


def spine_of(case: Case) -> Spine | None:
    """Return the spine of a case.

    Args:
        case: Case at `SPACING_MM`.

    Returns:
        The spine; None if it has fewer than two complete vertebrae, or two of one channel (T12 and
        T13, L5 and L6), whose voxels cannot be told apart.
    """
    channels = torch.where(case.target == IGNORE_INDEX, 0, case.target).numpy()
    grid = Geometry(channels.shape, (SPACING_MM,) * 3, (0.0, 0.0, 0.0), np.eye(3))
    frames = vertebra_frames(Volume(channels, grid))
    numbers = frames.numbers
    levels = tuple(NETWORK_LEVELS[number - 1] for number in numbers)
    sizes = np.bincount(channels.ravel(), minlength=len(NETWORK_LEVELS) + 1)[numbers]
    complete = tuple(_is_complete(sizes, levels, k) for k in range(len(levels)))
    has_core = ~torch.isnan(case.centres[numbers, 0]).numpy() | (np.array(levels) == SACRUM)
    if sum(complete) < 2 or not has_core[np.array(complete)].all():
        return None
    return Spine(
        case,
        levels,
        torch.from_numpy(numbers),
        torch.from_numpy(frames.centres_mm / SPACING_MM).float(),
        torch.from_numpy(frames.axes).float(),
        complete,
    )


def _is_complete(sizes: np.ndarray, levels: tuple[str, ...], k: int) -> bool:
    if levels[k] == SACRUM:
        return True
    around = [j for j in (k - 2, k - 1, k + 1, k + 2) if 0 <= j < len(sizes)]
    neighbours = [sizes[j] for j in around if levels[j] != SACRUM]
    return not neighbours or bool(sizes[k] > _COMPLETE_SHARE * np.median(neighbours))
