"""What the trainings of all networks have in common: the loop, its ends, and the state to resume.

A training of a kind of network says how it learns from its examples; see `Training`.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from spinemamba.common.errors import Cancelled, Code, UserError
from spinemamba.training.checkpoint import (
    all_finite,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from spinemamba.training.execution import Execution, largest
from spinemamba.training.interruption import Interruption, TimeLimit, interruptible
from spinemamba.training.monitoring import MetricsLog

_Report = Callable[[str], None]
_AfterStep = Callable[[Any], bool]

_TIME_LIMIT, _OTHER = "time limit", "another process was stopped"
"""Reasons for an end before that of the schedule, besides the name of a signal."""

_NO_BETTER = "validations no longer improve"


class _Schedule(Protocol):
    """Options that every training has."""

    steps: int
    learning_rate: float
    clip: float
    ema: float
    seed: int
    save_every_s: float
    precision: str


class Training(ABC):
    """A network in training, with the whole state that a checkpoint holds.

    Args:
        network: On the device of the execution.
        groups: Parameter groups of AdamW.
        options: Schedule and optimizer.
        execution: Device and processes.
    """

    def __init__(
        self,
        network: nn.Module,
        groups: list[dict[str, Any]],
        options: _Schedule,
        execution: Execution,
    ):
        self.options, self.execution = options, execution
        self.network = network
        self.average = {k: v.clone() for k, v in network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(groups, lr=0.0)
        self.scaler = torch.amp.GradScaler(
            execution.device.type, enabled=options.precision == "float16"
        )
        self.generator = torch.Generator().manual_seed(options.seed)
        self.step, self.seconds = 0, 0.0
        self.waiting = 0.0  # share of the last step's time spent on waiting for examples

    @abstractmethod
    def learn(self) -> dict[str, float]:
        """Take one step; return the parts of its loss.

        Raises:
            UserError: If the loss or its gradient is not finite; the weights are unchanged.
        """

    @abstractmethod
    def _write_record(self, folder: Path) -> None:
        """Write what a training is beside its checkpoint."""

    @property
    def done(self) -> float:
        """Completed share of the schedule; 1 or more at its end."""
        return self.step / self.options.steps

    def _workers(self) -> AbstractContextManager[None]:
        """Return a context in which worker processes draw the examples, if there are any."""
        return nullcontext()

    def _own_state(self) -> dict[str, Any]:
        """Return what a checkpoint holds besides the state that all trainings have."""
        return {}

    def _end_of_schedule(self) -> str:
        """Return why the schedule is over."""
        return "all steps are done"

    def run(
        self,
        folder: Path,
        report: _Report,
        limit: TimeLimit | None = None,
        after_step: _AfterStep | None = None,
    ) -> None:
        """Train to the end of the schedule; write checkpoints and metrics to ``folder``.

        Signals and the limit end it earlier, after a step and a checkpoint.

        Args:
            folder: Folder of the training.
            report: Receives messages; only in the first of several processes.
            limit: When this call must have ended.
            after_step: Called after every step; returns whether training ends. Its time does not
                count for the schedule. Only in the first of several processes.

        Raises:
            UserError: If the loss or a weight is no longer finite (the last checkpoint remains), or
                an output cannot be written (OUTPUT_BAD, DISK_FULL).
            Cancelled: After a signal.
        """
        limit = limit or TimeLimit(None)
        metrics = MetricsLog(folder, report) if self.execution.is_first else None
        with interruptible(report) as interruption:
            try:
                with self._workers():
                    self._learn_until(interruption, limit, metrics, folder, after_step)
            finally:
                if metrics is not None:
                    metrics.close()
            self.save(folder)
            report(self._end_text(interruption))
        if interruption.reason not in ("", _TIME_LIMIT, _NO_BETTER) and self.done < 1:
            raise Cancelled

    def _learn_until(
        self,
        interruption: Interruption,
        limit: TimeLimit,
        metrics: MetricsLog | None,
        folder: Path,
        after_step: _AfterStep | None,
    ) -> None:
        """Take steps until the schedule is completed, or until it is interrupted."""
        before = saved = time.monotonic()
        while self.done < 1:
            parts = self.learn()
            self.seconds += time.monotonic() - before
            if metrics is not None:
                metrics.add(self.step, parts | {"waiting": self.waiting}, self.seconds, self.done)
            ends = after_step is not None and after_step(self)
            now = time.monotonic()
            limit.step_took(now - before)
            before = now
            self.seconds, stop, late, ends = largest(
                (self.seconds, bool(interruption.reason), limit.reached, ends), self.execution
            )
            if stop or late or ends:  # the same in all processes
                other = _OTHER if stop else _TIME_LIMIT if late else _NO_BETTER
                interruption.reason = interruption.reason or other
                return
            if now - saved > self.options.save_every_s:
                self.save(folder)
                saved = time.monotonic()
                limit.save_took(saved - now)

    def _end_text(self, interruption: Interruption) -> str:
        options = self.options
        text = f"saved at step {self.step} of {options.steps}, {self.seconds / 60:.1f} min"
        if interruption.reason == _NO_BETTER:
            return f"{text}: {_NO_BETTER}"
        if self.done < 1:
            return f"{text} ({interruption.reason}): the same command continues from there"
        return f"{text}: {self._end_of_schedule()}"

    def _set_rate(self, warm_up_steps: int) -> None:
        """Set the learning rate of the next step."""
        rate = self.options.learning_rate * rate_factor(self.step, self.done, warm_up_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _change_weights(self, losses: list[Tensor]) -> None:
        """Take a step of the optimizer with the present gradients.

        In float16 a gradient may overflow: the step is then left out, and the scale of the loss is
        halved for the next one.

        Raises:
            UserError: If a loss or the gradient is not finite; the weights are unchanged.
        """
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        overflow_allowed = self.scaler.is_enabled() and self.scaler.get_scale() >= 1
        if not all_finite(losses if overflow_allowed else [*losses, norm]):
            raise self._not_finite("loss or its gradient is")
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _count_step(self) -> None:
        """Count a step, and update the average of the weights."""
        self.step += 1
        update_average(self.average, self.network, self.options.ema, self.step)

    def save(self, folder: Path) -> None:
        """Write a checkpoint; after an interruption the previous one is intact.

        Raises:
            UserError: If a weight is not finite, or the checkpoint cannot be written (OUTPUT_BAD,
                DISK_FULL); the previous checkpoint remains.
        """
        state = _state_of(self.network, self.average, self.optimizer, self.generator, self.step)
        if state is None:
            raise self._not_finite("weights are")
        if not self.execution.is_first:
            return
        # Written first: a checkpoint always has its record, even if the process is killed.
        self._write_record(folder)
        state |= {"scaler": self.scaler.state_dict(), "seconds": self.seconds}
        save_checkpoint(state | self._own_state(), folder)

    def _restore(self, folder: Path) -> dict[str, Any] | None:
        """Restore the state that all trainings have; return the whole of it, None if there is none.

        Raises:
            UserError: If the checkpoint is damaged, or of another network (MODEL_BAD).
        """
        if not has_checkpoint(folder):
            return None
        state = _restored(folder, self.network, self.optimizer, self.generator)
        self.average, self.step = state["average"], int(state["step"])
        self.seconds = float(state.get("seconds", 0.0))  # earlier level networks had none
        if self.scaler.is_enabled() and state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        return state

    def _not_finite(self, what: str) -> UserError:
        rate = self.optimizer.param_groups[0]["lr"]
        return _not_finite_error(what, self.step, rate, self.options.learning_rate)


def rate_factor(step: int, done: float, warm_up_steps: int = 100) -> float:
    """Return the learning rate relative to its peak: linear warm-up, then a cosine to zero."""
    warm = min(1.0, (step + 1) / warm_up_steps)
    return warm * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


@torch.no_grad()
def update_average(average: dict[str, Tensor], network: nn.Module, ema: float, step: int) -> None:
    """Update the exponential moving average of the weights, in place.

    Args:
        average: Averages by name.
        network: Network after a step.
        ema: Decay of the average.
        step: Number of steps so far. The decay is smaller at first, so that the average forgets the
            random initial weights.
    """
    decay = min(ema, (1 + step) / (10 + step))
    for name, value in network.state_dict().items():
        average[name].lerp_(value, 1 - decay)


def _state_of(
    network: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    step: int,
) -> dict[str, Any] | None:
    """Return the state from which a training resumes; None if a weight is not finite."""
    if not all_finite([*network.state_dict().values(), *average.values()]):
        return None
    return {
        "network": network.state_dict(),
        "average": average,
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "step": step,
    }


def _restored(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> dict[str, Any]:
    """Restore network, optimizer and generator in place from the checkpoint in a folder.

    Returns:
        The whole state, with "average", on the device of the network, and "step".

    Raises:
        UserError: If the checkpoint is missing (MODEL_MISSING), damaged, or of another network
            (MODEL_BAD).
    """
    state = load_checkpoint(folder)
    try:
        network.load_state_dict(state["network"])
        expected, average = network.state_dict(), state["average"]
        if {k: v.shape for k, v in expected.items()} != {k: v.shape for k, v in average.items()}:
            raise ValueError("names or shapes of weights differ")
        state["average"] = {k: v.to(expected[k].device) for k, v in average.items()}
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        int(state["step"])
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"The checkpoint in {folder} belongs to another network.",
            "Choose another folder with --out, or delete the checkpoint to start again.",
            Code.MODEL_BAD,
        ) from error
    return state


def _not_finite_error(what: str, step: int, rate: float, peak: float) -> UserError:
    """Return the error of a training whose loss or weights are not finite.

    Args:
        what: Subject and verb, such as "weights are".
        step: Number of steps before it.
        rate: Learning rate of the step.
        peak: Value of --learning-rate.
    """
    return UserError(
        f"The {what} not finite at step {step + 1}, at the learning rate {rate:.3g} "
        f"(--learning-rate {peak:g}). Nothing was saved since the last checkpoint.",
        "Repeat the command with a lower --learning-rate. It continues from that checkpoint.",
        Code.INPUT_BAD,
    )
