"""Metrics of a running training, as a table and for TensorBoard if it is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

from spinemamba.common.atomic_files import write_error

EVERY_STEPS = 50


class MetricsLog:
    """Means over `EVERY_STEPS` steps, in ``curves.csv`` and in TensorBoard's format.

    Args:
        folder: Folder of the training; rows are appended to those of earlier calls.
        report: Receives each row as a message, and a message if TensorBoard is not installed.

    Raises:
        UserError: If the table cannot be written (OUTPUT_BAD, DISK_FULL).
    """

    def __init__(self, folder: Path, report: Callable[[str], None]):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "curves.csv"
        self._drop_partial_row()
        self._report = report
        self._recent: list[dict[str, float]] = []
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._tensorboard = SummaryWriter(str(folder / "tensorboard"))
        except ImportError:
            self._tensorboard = None
            report("TensorBoard is not installed: metrics are written to curves.csv only")
        except OSError as error:
            raise write_error(folder / "tensorboard", error) from error

    def add(self, step: int, values: dict[str, float], seconds: float) -> None:
        """Add the metrics of one step.

        Args:
            step: Number of completed steps.
            values: Parts of the loss and other metrics, by name.
            seconds: Duration of the training so far.
        """
        self._recent.append(values)
        if step % EVERY_STEPS:
            return
        means = {k: sum(r[k] for r in self._recent) / len(self._recent) for k in values}
        self._recent = []
        self._write({"step": step, "minutes": seconds / 60, **means})
        if self._tensorboard is not None:
            for name, value in means.items():
                self._tensorboard.add_scalar(name, value, step)
        text = " ".join(f"{name} {value:.3f}" for name, value in means.items())
        self._report(f"step {step} {text} ({seconds / 60:.1f} min)")

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
