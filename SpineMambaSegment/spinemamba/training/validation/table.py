"""Table of validations: ``validation.csv``, from which a resumed training reads its best score."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from spinemamba.common.atomic_files import whole_or_nothing, write_error
from spinemamba.training.validation.scoring import Scores

VALIDATIONS = "validation.csv"


@dataclass(frozen=True)
class Row:
    """One validation.

    Attributes:
        step: Number of completed steps.
        minutes: Duration of the training so far, without validations.
        scores: Means over the cases.
    """

    step: int
    minutes: float
    scores: Scores

    def cells(self) -> dict[str, str]:
        """Return the cells of the table by column."""
        values = {"step": self.step, "minutes": self.minutes, **asdict(self.scores)}
        values["score"] = self.scores.score
        return {name: f"{value:.6g}" for name, value in values.items()}


def read_rows(folder: Path) -> list[Row]:
    """Return the validations of a training; a damaged row ends the list.

    Raises:
        UserError: If the file cannot be read (OUTPUT_BAD).
    """
    path = folder / VALIDATIONS
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise write_error(path, error) from error
    rows = []
    for line in lines:
        try:
            rows.append(_row(line))
        except (KeyError, TypeError, ValueError):
            break
    return rows


def _row(line: dict[str, str]) -> Row:
    names = ("bone_dice", "vertebra_dice", "vertebra_dice_named", "level_accuracy")
    values = [float(line[name]) for name in names]
    return Row(
        int(line["step"]), float(line["minutes"]), Scores(*values, int(float(line["missed"])))
    )


def write_rows(rows: list[Row], folder: Path) -> None:
    """Write the table, completely or not at all.

    Raises:
        UserError: If it cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for number, row in enumerate(rows):
        cells = row.cells()
        if not number:
            writer.writerow(cells)
        writer.writerow(cells.values())
    with whole_or_nothing(folder / VALIDATIONS) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8", newline="\n")


def best_row(rows: list[Row]) -> Row | None:
    """Return the validation with the highest score, the first of equals; None without any."""
    scored = [row for row in rows if not math.isnan(row.scores.score)]
    return max(scored, key=lambda row: row.scores.score, default=None)
