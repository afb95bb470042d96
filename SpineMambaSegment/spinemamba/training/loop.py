"""The training loop: draw patches, step, average the weights, save."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from spinemamba.common.errors import Cancelled, Code, UserError
from spinemamba.inference.model import Model
from spinemamba.network.config import NetworkConfig
from spinemamba.training.baselines import build_network
from spinemamba.training.checkpoint import all_finite, has_checkpoint, save_checkpoint
from spinemamba.training.data.case_store import TrainingCase
from spinemamba.training.data.origin import attributions, merged
from spinemamba.training.data.patches import PatchOptions
from spinemamba.training.execution import ONE_CPU, Execution, largest, mixed_precision, replica
from spinemamba.training.feed import (
    Batch,
    Feed,
    NumberedFeed,
    PatchSource,
    Place,
    SequenceFeed,
    Share,
    on_device,
)
from spinemamba.training.folder import TrainingRecord, read_metadata, write_metadata
from spinemamba.training.interruption import Interruption, TimeLimit, interruptible
from spinemamba.training.loss import patch_mean_loss
from spinemamba.training.monitoring import MetricsLog
from spinemamba.training.optimizer import parameter_groups
from spinemamba.training.options import TrainOptions
from spinemamba.training.phases import last_phase
from spinemamba.training.steps import (
    not_finite,
    rate_factor,
    restored,
    state_of,
    update_average,
)

Report = Callable[[str], None]
AfterStep = Callable[["Trainer"], bool]

_TIME_LIMIT, _OTHER = "time limit", "another process was stopped"
"""Reasons for an end before that of the schedule, besides the name of a signal."""

_NO_BETTER = "validations no longer improve"


class Trainer:
    """One network in training, with the whole state that a checkpoint holds.

    Args:
        config: Network.
        cases: Cases from which patches are drawn.
        weights: Relative sampling weight of each case.
        options: Schedule and optimizer.
        execution: Device and processes.

    Raises:
        UserError: If several processes are to draw from one sequence of random numbers (INPUT_BAD).
    """

    def __init__(
        self,
        config: NetworkConfig,
        cases: Sequence[TrainingCase],
        weights: list[float],
        options: TrainOptions,
        execution: Execution = ONE_CPU,
    ):
        torch.manual_seed(options.seed)
        self.options, self.execution = options, execution
        self.network = build_network(config, options.kind)  # on the CPU, so that weights are equal
        self.config = self.network.config
        self.network.to(execution.device)
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(parameter_groups(self.network, options), lr=0.0)
        self.scaler = torch.amp.GradScaler(
            execution.device.type, enabled=options.precision == "float16"
        )
        self.generator = torch.Generator().manual_seed(options.seed)
        self.source = PatchSource(
            cases,
            torch.tensor(weights),
            options.patch or PatchOptions(self.config.patch_vox),
            options.synthesis,
            last_phase(options.last_phase, cases),
            options.seed,
        )
        self.step, self.seconds = 0, 0.0
        self.waiting = 0.0  # share of the last step's time spent on waiting for patches
        self.started_from = ""  # name and version of the initial model
        self.sources = attributions((case.name, case.origin) for case in cases)
        self.feed = self._new_feed()
        self._replica = replica(self.network, execution)

    def _new_feed(self) -> Feed:
        """Return the series of batches from the present step on."""
        options, execution = self.options, self.execution
        place = Place(
            self.step * options.accumulate,
            lambda batch: self._done_at(batch // options.accumulate),
        )
        if options.order == "numbered":
            share = Share(options.batch_size, execution.rank, execution.processes)
            return NumberedFeed(self.source, share, place)
        if execution.processes > 1:
            raise UserError(
                "This training draws its patches from one sequence of random numbers, which "
                f"{execution.processes} processes cannot share.",
                "Continue it with one process, or start another training with torchrun.",
                Code.INPUT_BAD,
            )
        return SequenceFeed(self.source, self.generator, options.batch_size, place)

    @property
    def done(self) -> float:
        """Completed share of the schedule; 1 or more at its end."""
        return self._done_at(self.step)

    def _done_at(self, step: int) -> float:
        """Return the completed share of the schedule at a step, which workers may draw ahead."""
        minutes = self.options.minutes
        by_time = 0.0 if minutes is None else self.seconds / (60 * minutes)
        return max(step / self.options.steps, by_time)

    def run(
        self,
        folder: Path,
        report: Report,
        limit: TimeLimit | None = None,
        after_step: AfterStep | None = None,
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
        after_step: AfterStep | None,
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

    def _workers(self) -> AbstractContextManager[None]:
        """Return a context in which worker processes draw the patches, if there are any."""
        if isinstance(self.feed, NumberedFeed):
            return self.feed.in_workers(self.execution.workers, self.execution.device)
        return nullcontext()

    def _end_text(self, interruption: Interruption) -> str:
        options = self.options
        text = f"saved at step {self.step} of {options.steps}, {self.seconds / 60:.1f} min"
        if interruption.reason == _NO_BETTER:
            return f"{text}: {_NO_BETTER}"
        if self.done < 1:
            return f"{text} ({interruption.reason}): the same command continues from there"
        by_steps = self.step >= options.steps
        reason = "all steps are done" if by_steps else f"the {options.minutes:g} minutes are over"
        return f"{text}: {reason}"

    def draw(self) -> Batch:
        """Return the images (B, 1, D, H, W) of the next random patches, and their targets."""
        return self.feed.next()

    def examples(self, count: int) -> list[Batch]:
        """Return patches for a preview; the patches of the training stay the same."""
        return self.feed.preview(count)

    def learn(self) -> dict[str, float]:
        """Take one step; return the parts of its loss.

        Raises:
            UserError: If the loss or its gradient is not finite; the weights are unchanged.
        """
        started, waited = time.monotonic(), 0.0
        rate = self.options.learning_rate * rate_factor(self.step, self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        losses, sums = [], {}
        for part in range(self.options.accumulate):
            before = time.monotonic()
            batch = self.draw()
            waited += time.monotonic() - before
            with self._gradients_of(part):
                loss, parts = self._loss(on_device(batch, self.execution.device))
                self.scaler.scale(loss).backward()
            losses.append(loss.detach())
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value / self.options.accumulate
        self._change_weights(losses)
        self.step += 1
        update_average(self.average, self.network, self.options.ema, self.step)
        self.waiting = waited / (time.monotonic() - started)
        return sums

    def _gradients_of(self, part: int) -> AbstractContextManager[None]:
        """Return a context in which gradients are averaged over processes for the last part."""
        last = part == self.options.accumulate - 1
        return nullcontext() if last or self.execution.processes == 1 else self._no_sync()

    def _no_sync(self) -> AbstractContextManager[None]:
        return getattr(self._replica, "_orig_mod", self._replica).no_sync()

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the share of a batch in the loss of a step, and the parts of its loss."""
        image, targets = batch
        with mixed_precision(self.options.precision, image.device):
            logits = self._replica(image)
        weights = self.source.phase.loss_weights(self.options.loss, self.done)
        loss, parts = patch_mean_loss(logits.float(), targets, weights)
        return loss / self.options.accumulate, parts

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

    def save(self, folder: Path) -> None:
        """Write a checkpoint; after an interruption the previous one is intact.

        Raises:
            UserError: If a weight is not finite, or the checkpoint cannot be written (OUTPUT_BAD,
                DISK_FULL); the previous checkpoint remains.
        """
        state = state_of(self.network, self.average, self.optimizer, self.generator, self.step)
        if state is None:
            raise self._not_finite("weights are")
        if not self.execution.is_first:
            return
        metadata = TrainingRecord(
            self.config, asdict(self.options), tuple(self.sources), started_from=self.started_from
        )
        # Written first: a checkpoint always has its metadata, even if the process is killed.
        write_metadata(metadata, folder)
        state |= {"scaler": self.scaler.state_dict(), "order": self.options.order}
        save_checkpoint(state | {"seconds": self.seconds}, folder)

    def _not_finite(self, what: str) -> UserError:
        rate = self.optimizer.param_groups[0]["lr"]
        return not_finite(what, self.step, rate, self.options.learning_rate)

    def start_from(self, model: Model, name: str) -> None:
        """Initialise the weights from a trained model; the schedule starts from zero.

        Args:
            model: Model with the network.
            name: "coarse" or "fine".

        Raises:
            UserError: If the weights have other shapes (MODEL_BAD).
        """
        try:
            weights = getattr(model, name).network.state_dict()
            weights = {k: v.to(self.execution.device) for k, v in weights.items()}
            self.network.load_state_dict(_completed(weights, self.network.state_dict()))
        except RuntimeError as error:
            raise UserError(
                "The weights of the model to start from do not fit this network.",
                "Give its --size (the bundled fine network is 'full'), choose a model of this "
                "version, or leave out --start-from.",
                Code.MODEL_BAD,
            ) from error
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.sources = merged(model.card.data, self.sources)
        self.started_from = f"{model.card.name} {model.card.version}"

    def resume(self, folder: Path) -> bool:
        """Continue from the checkpoint in a folder; return False if there is none.

        Raises:
            UserError: If the checkpoint is damaged, or of another network (MODEL_BAD).
        """
        if not has_checkpoint(folder):
            return False
        metadata = read_metadata(folder)
        state = restored(folder, self.network, self.optimizer, self.generator)
        self.average = state["average"]
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        if self.scaler.is_enabled() and state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        # A change would draw other patches than an uninterrupted training.
        self.options = replace(self.options, order=state.get("order", "sequence"))
        self.feed = self._new_feed()
        self.sources = merged(metadata.sources, self.sources)
        self.started_from = metadata.started_from
        return True


def _completed(weights: dict[str, Tensor], initial: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return ``weights``, with parts that older networks lack taken from ``initial``.

    These are the last channels of the head, if a network without offsets initialises one with
    them, and the stage at full resolution, which initially does not change the output.
    """
    out = {name: value for name, value in initial.items() if name.startswith("detail.")} | weights
    for name in {"head.weight", "head.bias"} & weights.keys() & initial.keys():
        out[name] = torch.cat([weights[name], initial[name][len(weights[name]) :]])
    return out
