"""Training of the networks of voxels: draw patches, and learn from them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spinemamba.common.errors import Code, UserError
from spinemamba.inference.model import Model
from spinemamba.network.config import NetworkConfig
from spinemamba.training.baselines import build_network
from spinemamba.training.data.case_store import TrainingCase
from spinemamba.training.data.origin import attributions, merged
from spinemamba.training.data.patches import PatchOptions
from spinemamba.training.execution import ONE_CPU, Execution, mixed_precision, replica
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
from spinemamba.training.loss import patch_mean_loss
from spinemamba.training.optimizer import parameter_groups
from spinemamba.training.options import TrainOptions
from spinemamba.training.phases import last_phase
from spinemamba.training.steps import Training

_WARM_UP_STEPS = 100


class Trainer(Training):
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

    options: TrainOptions

    def __init__(
        self,
        config: NetworkConfig,
        cases: Sequence[TrainingCase],
        weights: list[float],
        options: TrainOptions,
        execution: Execution = ONE_CPU,
    ):
        torch.manual_seed(options.seed)
        network = build_network(config, options.kind)  # on the CPU, so that weights are equal
        network.to(execution.device)
        super().__init__(network, parameter_groups(network, options), options, execution)
        self.config = network.config
        self.source = PatchSource(
            cases,
            torch.tensor(weights),
            options.patch or PatchOptions(self.config.patch_vox),
            options.synthesis,
            last_phase(options.last_phase, cases),
            options.seed,
        )
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

    def _workers(self) -> AbstractContextManager[None]:
        """Return a context in which worker processes draw the patches, if there are any."""
        if isinstance(self.feed, NumberedFeed):
            return self.feed.in_workers(self.execution.workers, self.execution.device)
        return nullcontext()

    def _end_of_schedule(self) -> str:
        if self.step >= self.options.steps:
            return super()._end_of_schedule()
        return f"the {self.options.minutes:g} minutes are over"

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
        self._set_rate(_WARM_UP_STEPS)
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
        self._count_step()
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

    def _write_record(self, folder: Path) -> None:
        metadata = TrainingRecord(
            self.config, asdict(self.options), tuple(self.sources), started_from=self.started_from
        )
        write_metadata(metadata, folder)

    def _own_state(self) -> dict[str, Any]:
        return {"order": self.options.order}

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
        if (state := self._restore(folder)) is None:
            return False
        metadata = read_metadata(folder)
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
