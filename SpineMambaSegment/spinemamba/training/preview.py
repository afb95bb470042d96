"""Contact sheet of training patches as the network sees them, to check before a long training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.training.data.dataset import IGNORE_INDEX
from spinemamba.training.loss import Targets


def write_contact_sheet(
    patches: list[tuple[Tensor, Targets]], path: Path, columns: int = 6
) -> None:
    """Write a sagittal slice of each patch, without and with its labels.

    Args:
        patches: Image (1, 1, D, H, W) and targets of each patch.
        path: PNG file to write.
        columns: Patches per row.

    Raises:
        UserError: If the file cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    rows = -(-len(patches) // columns)
    figure = Figure(figsize=(2 * columns, 4.4 * rows), facecolor="black", layout="constrained")
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for k, (image, targets) in enumerate(patches):
        target, core = targets.target, targets.core
        row, column = 2 * (k // columns), k % columns
        bone = (target[0] > 0) & (target[0] != IGNORE_INDEX)
        x = int(bone.sum(dim=(0, 1)).argmax()) if bone.any() else target.shape[-1] // 2
        gray = image[0, 0, :, :, x].numpy()
        axes[row, column].imshow(gray, cmap="gray", origin="lower", vmin=-1, vmax=1)
        overlay = _overlay(gray, target[0, :, :, x].numpy(), core[0, :, :, x].numpy())
        axes[row + 1, column].imshow(overlay, origin="lower")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_or_nothing(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _overlay(image: np.ndarray, target: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Return an RGB image: levels in their colors, cores brighter, ignored voxels violet."""
    colors = np.zeros((256, 3))
    for k, name in enumerate(NETWORK_LEVELS):
        colors[k + 1] = np.asarray(BY_NAME[name].color) / 255
    colors[IGNORE_INDEX] = (0.4, 0.0, 0.5)
    gray = np.repeat(np.clip((image + 1) / 2, 0, 1)[..., None], 3, axis=-1)
    opacity = np.where(target > 0, 0.45, 0.0) + np.where(core > 0, 0.3, 0.0)
    return gray * (1 - opacity[..., None]) + colors[target] * opacity[..., None]
