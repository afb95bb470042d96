"""Watch a training: validate every few steps, keep the best weights, draw the curves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.evaluation.cohort import Summary, summarize
from spinemamba.inference.model import Model
from spinemamba.report.evaluation_files import write_evaluation
from spinemamba.training.data.tensors import load_tensors, save_tensors
from spinemamba.training.folder import BEST
from spinemamba.training.layouts.user_case import UserCase
from spinemamba.training.monitoring import to_tensorboard
from spinemamba.training.validation.progress_plot import draw_progress
from spinemamba.training.validation.scoring import evaluate_and_save, model_in_training, validate
from spinemamba.training.validation.table import Row, best_row, read_rows, write_rows

if TYPE_CHECKING:
    from torch import Tensor

    from spinemamba.training.loop import Trainer

LAST_FOLDER, BEST_FOLDER = "validation_last", "validation_best"
"""Folders of the final evaluation of the last and of the best weights."""

_DRAW_EVERY_S = 60.0


@dataclass(frozen=True)
class ValidationOptions:
    """What is validated, and when.

    Attributes:
        cases: Cases that are not trained on; none for no validation.
        stage: Network in training, "coarse" or "fine".
        every_steps: Steps between two validations.
        patience: Validations without a better score after which training ends; 0 for never.
    """

    cases: tuple[UserCase, ...]
    stage: str
    every_steps: int = 1000
    patience: int = 0


class Monitor:
    """Validation and curves of one training.

    Args:
        folder: Folder of the training.
        options: What is validated, and when.
        other: Model of the other network; None without validation.
        report: Receives messages.
    """

    def __init__(
        self,
        folder: Path,
        options: ValidationOptions,
        other: Model | None,
        report: Callable[[str], None],
    ):
        self._folder, self._options, self._other, self._report = folder, options, other, report
        self._rows: list[Row] = []
        self._drawn = time.monotonic()

    def resume(self, step: int) -> None:
        """Take over the validations of earlier calls up to a step; later ones are repeated.

        Raises:
            UserError: If the table cannot be read (OUTPUT_BAD).
        """
        self._rows = [row for row in read_rows(self._folder) if row.step <= step]

    @property
    def exhausted(self) -> bool:
        """Whether the score has not improved for so long that training ends."""
        best = best_row(self._rows)
        if not self._options.patience or best is None:
            return False
        return len(self._rows) - 1 - self._rows.index(best) >= self._options.patience

    def after_step(self, trainer: Trainer) -> bool:
        """Validate and draw if it is time; return whether training should end."""
        due = self._options.cases and trainer.step % self._options.every_steps == 0
        if due:
            self._validate(trainer)
        if due or time.monotonic() - self._drawn > _DRAW_EVERY_S:
            self.draw()
        if due and self.exhausted:
            self._report(
                f"step {trainer.step}: no better score in {self._options.patience} validations; "
                "training ends"
            )
            return True
        return False

    def draw(self) -> None:
        """Draw the curves again."""
        draw_progress(self._folder, self._rows)
        self._drawn = time.monotonic()

    def _validate(self, trainer: Trainer) -> None:
        started = time.monotonic()
        model = self._model(trainer, trainer.average)
        scores = validate(self._options.cases, model, self._report)
        row = Row(trainer.step, trainer.seconds / 60, scores)
        before = best_row(self._rows)
        self._rows.append(row)
        better = best_row(self._rows) is row
        if better:
            about = {"step": row.step, **asdict(scores), "score": scores.score}
            save_tensors(
                {k: v.cpu() for k, v in trainer.average.items()}, about, self._folder / BEST
            )
        write_rows(self._rows, self._folder)
        named = {f"validation/{name}": value for name, value in asdict(scores).items()}
        to_tensorboard(self._folder, named, row.step)
        words = "the best so far" if better else f"best {before.scores.score:.3f}" if before else ""
        self._report(
            f"validation at step {row.step}: bone Dice {scores.bone_dice:.3f}, per vertebra "
            f"{scores.vertebra_dice:.3f}, levels right {scores.level_accuracy:.3f}, missed "
            f"{scores.missed}; score {scores.score:.3f}, {words} "
            f"({len(self._options.cases)} cases in {time.monotonic() - started:.0f} s)"
        )

    def _model(self, trainer: Trainer, weights: dict[str, Tensor]) -> Model:
        return model_in_training(trainer, weights, self._options.stage, self._other)

    def finish(self, trainer: Trainer) -> None:
        """Evaluate the last and the best weights as `spinemamba evaluate` does, and draw.

        Raises:
            UserError: If files cannot be written (OUTPUT_BAD, DISK_FULL).
        """
        self.draw()
        if not self._options.cases:
            return
        best = best_row(self._rows)
        self._evaluate(trainer, trainer.average, LAST_FOLDER)
        if best is not None and best.step != trainer.step:
            self._evaluate(trainer, load_best(self._folder)[0], BEST_FOLDER)

    def _evaluate(self, trainer: Trainer, weights: dict[str, Tensor], name: str) -> Summary:
        folder = self._folder / name
        model = self._model(trainer, weights)
        outcomes = list(evaluate_and_save(self._options.cases, model, folder / "labels"))
        summary = summarize(outcomes)
        write_evaluation(outcomes, summary, folder, overwrite=True)
        right, counted = summary.all_right
        means = {key: spread.mean for key, spread in summary.measures.items()}
        self._report(
            f"{name}: bone Dice {means['bone_dice']:.3f}, per vertebra "
            f"{means['dice_matched']:.3f}, all levels right in {right} of {counted} cases; "
            f"see {folder / 'evaluation.html'}"
        )
        return summary


def load_best(folder: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return the weights of the best validation, and its scores.

    Raises:
        UserError: If there are none, or the file is damaged (MODEL_BAD, INPUT_BAD).
    """
    return load_tensors(folder / BEST)
