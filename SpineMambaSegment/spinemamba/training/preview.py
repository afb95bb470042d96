"""A picture of what the network is fed: look at it before a long training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.training.data.dataset import UNKNOWN
from spinemamba.training.loss import Truth


def write_sheet(patches: list[tuple[Tensor, Truth]], path: Path, columns: int = 6) -> None:
    """Write the mid-sagittal slice of each patch, bare and with its labels.

    Args:
        patches: Image (1, 1, D, H, W) of each, and what is true of it.
        path: PNG to write.
        columns: Patches per row.

    Raises:
        UserError: If it cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    rows = -(-len(patches) // columns)
    figure = Figure(figsize=(2 * columns, 4.4 * rows), facecolor="black", layout="constrained")
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for k, (image, truth) in enumerate(patches):
        target, core = truth.target, truth.core
        row, column = 2 * (k // columns), k % columns
        known = (target[0] > 0) & (target[0] != UNKNOWN)
        x = int(known.sum(dim=(0, 1)).argmax()) if known.any() else target.shape[-1] // 2
        bare = image[0, 0, :, :, x].numpy()
        axes[row, column].imshow(bare, cmap="gray", origin="lower", vmin=-1, vmax=1)
        painted = _overlay(bare, target[0, :, :, x].numpy(), core[0, :, :, x].numpy())
        axes[row + 1, column].imshow(painted, origin="lower")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_or_nothing(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _overlay(image: np.ndarray, target: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Return an RGB picture: levels in their colours, cores brighter, unknown voxels violet."""
    colors = np.zeros((256, 3))
    for k, name in enumerate(NETWORK_LEVELS):
        colors[k + 1] = np.asarray(BY_NAME[name].color) / 255
    colors[UNKNOWN] = (0.4, 0.0, 0.5)
    gray = np.repeat(np.clip((image + 1) / 2, 0, 1)[..., None], 3, axis=-1)
    strength = np.where(target > 0, 0.45, 0.0) + np.where(core > 0, 0.3, 0.0)
    return gray * (1 - strength[..., None]) + colors[target] * strength[..., None]
