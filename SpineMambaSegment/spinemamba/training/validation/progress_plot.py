"""Picture of the curves of a training, which is drawn again while it runs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.training.monitoring import CURVES
from spinemamba.training.validation.table import Row, best_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROGRESS = "progress.png"

_SMOOTH_SHARE = 50
"""Rows are averaged so that about as many points are drawn."""

_NOT_LOSSES = ("step", "minutes", "drawing", "waiting")


def draw_progress(folder: Path, rows: list[Row]) -> None:
    """Draw losses and validation scores; nothing before the first row of the losses.

    Args:
        folder: Folder of the training.
        rows: Its validations.

    Raises:
        UserError: If the picture cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    curves = _read_curves(folder / CURVES)
    if not curves and not rows:
        return
    # Not needed by the training itself, and slow to import.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7 if rows else 4), layout="constrained")
    axes = figure.subplots(2 if rows else 1, 1, sharex=True, squeeze=False)[:, 0]
    _draw_losses(axes[0], curves)
    if rows:
        _draw_scores(axes[1], rows)
    axes[-1].set_xlabel("step")
    with whole_or_nothing(folder / PROGRESS) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _read_curves(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of the table of losses; empty if there is none, or it is damaged."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = [line for line in csv.DictReader(file) if None not in line.values()]
        return {name: np.array([float(line[name]) for line in lines]) for name in lines[0]}
    except (OSError, ValueError, IndexError, KeyError, TypeError):
        return {}


def _draw_losses(axis: Axes, curves: dict[str, np.ndarray]) -> None:
    for name, values in curves.items():
        if name in _NOT_LOSSES:
            continue
        width = max(1, len(values) // _SMOOTH_SHARE)
        kernel = np.ones(width) / width
        axis.plot(curves["step"], values, linewidth=0.6, alpha=0.3, color=(line := _color(name)))
        smooth = np.convolve(values, kernel, "valid")
        axis.plot(curves["step"][width - 1 :], smooth, label=name, color=line)
    axis.set_ylabel("training loss")
    if curves:
        axis.legend(loc="upper right", fontsize=8)
    axis.grid(alpha=0.3)


def _draw_scores(axis: Axes, rows: list[Row]) -> None:
    steps = [row.step for row in rows]
    for name, label in (
        ("bone_dice", "bone Dice"),
        ("vertebra_dice", "Dice per vertebra"),
        ("level_accuracy", "levels right"),
    ):
        axis.plot(steps, [getattr(r.scores, name) for r in rows], marker=".", label=label)
    if (best := best_row(rows)) is not None:
        axis.axvline(best.step, color="gray", linestyle=":", label=f"best, step {best.step}")
    axis.set_ylabel("validation")
    axis.set_ylim(0, 1.03)
    axis.legend(loc="lower right", fontsize=8)
    axis.grid(alpha=0.3)


def _color(name: str) -> str:
    colors = {"bone": "tab:blue", "core": "tab:orange", "level": "tab:green", "offset": "tab:red"}
    return colors.get(name, "tab:gray")
