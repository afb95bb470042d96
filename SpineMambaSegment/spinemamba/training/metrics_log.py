"""What a training tells while it runs: curves as a table, and for TensorBoard where that is."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

from spinemamba.common.atomic_files import write_error

EVERY_STEPS = 50


class Curves:
    """Means of every `EVERY_STEPS` steps, in ``curves.csv`` and in TensorBoard's own format.

    Args:
        folder: Folder of the training; rows are added to those of earlier calls.
        report: Told once if TensorBoard is not installed, and of every row.

    Raises:
        UserError: If the table cannot be written (OUTPUT_BAD, DISK_FULL).
    """

    def __init__(self, folder: Path, report: Callable[[str], None]):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "curves.csv"
        self._end_last_row()
        self._report = report
        self._recent: list[dict[str, float]] = []
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"))
        except ImportError:
            self._board = None
            report("TensorBoard is not installed: curves go to curves.csv only")
        except OSError as error:
            raise write_error(folder / "tensorboard", error) from error

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

    def _end_last_row(self) -> None:
        """Drop a row that a killed process has not finished."""
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
        """End TensorBoard's file."""
        if self._board is not None:
            self._board.close()
