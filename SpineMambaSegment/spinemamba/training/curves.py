"""What a training tells while it runs: curves as a table, and for TensorBoard where that is."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

EVERY_STEPS = 50


class Curves:
    """Means of every `EVERY_STEPS` steps, in ``curves.csv`` and in TensorBoard's own format.

    Args:
        folder: Folder of the training; rows are added to those of earlier calls.
        report: Told once if TensorBoard is not installed, and of every row.
    """

    def __init__(self, folder: Path, report: Callable[[str], None]):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "curves.csv"
        self._report = report
        self._recent: list[dict[str, float]] = []
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"))
        except ImportError:
            self._board = None
            report("TensorBoard is not installed: curves go to curves.csv only")

    def add(self, step: int, values: dict[str, float], seconds: float) -> None:
        """Take in one step.

        Args:
            step: Steps that are done.
            values: Parts of the loss, and anything else worth a curve.
            seconds: Time of the training so far.
        """
        self._recent.append(values)
        if step % EVERY_STEPS:
            return
        means = {k: sum(r[k] for r in self._recent) / len(self._recent) for k in values}
        self._recent = []
        self._write({"step": step, "minutes": seconds / 60, **means})
        if self._board is not None:
            for name, value in means.items():
                self._board.add_scalar(name, value, step)
        shown = " ".join(f"{name} {value:.3f}" for name, value in means.items())
        self._report(f"step {step} {shown} ({seconds / 60:.1f} min)")

    def _write(self, row: dict[str, float]) -> None:
        new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(row)
            writer.writerow(f"{value:.5g}" for value in row.values())

    def close(self) -> None:
        """End TensorBoard's file."""
        if self._board is not None:
            self._board.close()
