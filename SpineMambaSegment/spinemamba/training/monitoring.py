"""Monitoring of a training: metrics as a table and for TensorBoard, preview of the patches."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.common.atomic_files import whole_or_nothing, write_error
from spinemamba.training.data.dataset import IGNORE_INDEX
from spinemamba.training.loss import Targets

CURVES = "curves.csv"
"""Table of the losses, in the folder of a training."""

_TENSORBOARD = "tensorboard"
"""Folder of TensorBoard's files, in that of a training."""

_EVERY_STEPS = 50

_SHEET_TITLE = (
    "Patches as the network sees them, sagittal: without and with their labels.\n"
    "Bright: cores of the vertebrae. Violet: left out of the loss, as outside of the image."
)


class MetricsLog:
    """Means over `_EVERY_STEPS` steps, in ``curves.csv`` and in TensorBoard's format.

    Args:
        folder: Folder of the training; rows are appended to those of earlier calls.
        report: Receives each row as a message, and a message if TensorBoard is not installed.

    Raises:
        UserError: If the table cannot be written (OUTPUT_BAD, DISK_FULL).
    """

    def __init__(self, folder: Path, report: Callable[[str], None]):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / CURVES
        self._drop_partial_row()
        self._report = report
        self._recent: list[dict[str, float]] = []
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._tensorboard = SummaryWriter(str(folder / _TENSORBOARD))
        except ImportError:
            self._tensorboard = None
            report("TensorBoard is not installed: metrics are written to curves.csv only")
        except OSError as error:
            raise write_error(folder / _TENSORBOARD, error) from error

    def add(self, step: int, values: dict[str, float], seconds: float, done: float = 0.0) -> None:
        """Add the metrics of one step.

        Args:
            step: Number of completed steps.
            values: Parts of the loss and other metrics, by name.
            seconds: Duration of the training so far.
            done: Completed share of the schedule; 0 if it is unknown.
        """
        self._recent.append(values)
        if step % _EVERY_STEPS:
            return
        means = {k: sum(r[k] for r in self._recent) / len(self._recent) for k in values}
        self._recent = []
        self._write({"step": step, "minutes": seconds / 60, **means})
        if self._tensorboard is not None:
            for name, value in means.items():
                self._tensorboard.add_scalar(name, value, step)
        text = " ".join(f"{name} {value:.3f}" for name, value in means.items())
        self._report(f"step {step} {text} ({seconds / 60:.1f} min{_rest(seconds, done)})")

    def _drop_partial_row(self) -> None:
        """Remove an incomplete last row, which a killed process leaves."""
        try:
            with self._path.open("rb+") as file:
                content = file.read()
                file.truncate(content.rfind(b"\n") + 1)
        except FileNotFoundError:
            return
        except OSError as error:
            raise write_error(self._path, error) from error

    def _write(self, row: dict[str, float]) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        try:
            if not self._path.exists() or self._path.stat().st_size == 0:
                writer.writerow(row)
            writer.writerow(f"{value:.5g}" for value in row.values())
            with self._path.open("a", newline="", encoding="utf-8") as file:
                file.write(text.getvalue())
        except OSError as error:
            raise write_error(self._path, error) from error

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._tensorboard is not None:
            self._tensorboard.close()


def to_tensorboard(folder: Path, values: dict[str, float], step: int) -> None:
    """Add values to TensorBoard's files of a training; nothing if TensorBoard is not installed.

    Raises:
        UserError: If they cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return
    try:
        with SummaryWriter(str(folder / _TENSORBOARD)) as writer:
            for name, value in values.items():
                writer.add_scalar(name, value, step)
    except OSError as error:
        raise write_error(folder / _TENSORBOARD, error) from error


def _rest(seconds: float, done: float) -> str:
    """Return the completed share of a schedule and the time that is left; empty if unknown."""
    if done <= 0:
        return ""
    left_min = seconds * (1 / min(done, 1.0) - 1) / 60
    return f", {100 * min(done, 1.0):.1f} % done, {left_min:.0f} min left"


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
    # Not needed by the training itself, and slow to import.
    from matplotlib.figure import Figure

    rows = -(-len(patches) // columns)
    figure = Figure(figsize=(2 * columns, 4.4 * rows), facecolor="black", layout="constrained")
    figure.suptitle(_SHEET_TITLE, color="white", fontsize=9)
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
