"""Training of the level network: draw chains, step, average the weights, save."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from spinemamba.common.errors import UserError
from spinemamba.network.level_sequence import (
    LevelLogits,
    LevelNetworkConfig,
    LevelSequenceNet,
    neighbour_gaps,
)
from spinemamba.training.checkpoint import all_finite, has_checkpoint, save_checkpoint
from spinemamba.training.data.origin import attributions
from spinemamba.training.levels.crops import ExampleOptions, LevelExample, draw_example
from spinemamba.training.levels.folder import LevelTrainingRecord, write_record
from spinemamba.training.levels.loss import level_loss
from spinemamba.training.levels.spines import Spine
from spinemamba.training.steps import (
    not_finite,
    rate_factor,
    restored,
    state_of,
    update_average,
)

Report = Callable[[str], None]

_WARM_UP_STEPS = 60
_REPORT_STEPS = 50


@dataclass(frozen=True)
class LevelTrainOptions:
    """Schedule and optimizer.

    Attributes:
        steps: Steps of the whole schedule, over all calls.
        chains: Chains of each step.
        learning_rate: Peak rate of AdamW; falls to zero as a cosine.
        weight_decay: Weight decay.
        clip: Largest norm of the gradient.
        ema: Decay of the average of the weights.
        seed: Seed of weights and chains.
        save_every_s: Seconds between checkpoints.
        bfloat16: Whether the convolutions run in bfloat16.
        example: Distribution of the chains.
    """

    steps: int = 4000
    chains: int = 3
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    clip: float = 2.0
    ema: float = 0.998
    seed: int = 0
    save_every_s: float = 60.0
    bfloat16: bool = False
    example: ExampleOptions = field(default_factory=ExampleOptions)


class LevelTrainer:
    """A level network in training, with the whole state that a checkpoint holds.

    Args:
        config: Network.
        spines: Spines from which chains are drawn.
        weights: Relative sampling weight of each spine.
        options: Schedule and optimizer.
    """

    def __init__(
        self,
        config: LevelNetworkConfig,
        spines: list[Spine],
        weights: list[float],
        options: LevelTrainOptions,
    ):
        torch.manual_seed(options.seed)
        self.spines, self.weights, self.options = spines, torch.tensor(weights), options
        self.network = LevelSequenceNet(config)
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=0.0, weight_decay=options.weight_decay
        )
        self.generator = torch.Generator().manual_seed(options.seed)
        self.step = 0
        origins = [(spine.case.name, spine.case.origin) for spine in spines]
        self.record = LevelTrainingRecord(config, asdict(options), attributions(origins))

    def run(self, folder: Path, report: Report) -> None:
        """Train to the end of the schedule; write checkpoints to ``folder``.

        Raises:
            UserError: If the loss or a weight is no longer finite (the last checkpoint remains), or
                the checkpoint cannot be written (OUTPUT_BAD, DISK_FULL).
        """
        saved, sums = time.monotonic(), {}
        while self.step < self.options.steps:
            for name, value in self.learn().items():
                sums[name] = sums.get(name, 0.0) + value / _REPORT_STEPS
            if self.step % _REPORT_STEPS == 0:
                report(f"step {self.step}: " + ", ".join(f"{k} {v:.3f}" for k, v in sums.items()))
                sums = {}
            if time.monotonic() - saved > self.options.save_every_s:
                self.save(folder)
                saved = time.monotonic()
        self.save(folder)

    def draw(self) -> list[LevelExample]:
        """Return the random chains of one step."""
        rows = torch.multinomial(
            self.weights, self.options.chains, replacement=True, generator=self.generator
        )
        return [
            draw_example(self.spines[int(row)], self.options.example, self.generator)
            for row in rows
        ]

    def learn(self) -> dict[str, float]:
        """Take one step; return the parts of its loss.

        Raises:
            UserError: If the loss or its gradient is not finite; the weights are unchanged.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * rate_factor(
                self.step, self.step / self.options.steps, _WARM_UP_STEPS
            )
        examples = self.draw()
        loss, sums = torch.zeros(()), {}
        for logits, example in zip(self._read(examples), examples, strict=True):
            part, parts = level_loss(logits, example)
            loss = loss + part / len(examples)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value / len(examples)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        if not all_finite([loss, norm]):
            raise self._not_finite("loss or its gradient is")
        self.optimizer.step()
        self.step += 1
        update_average(self.average, self.network, self.options.ema, self.step)
        return sums

    def _read(self, examples: list[LevelExample]) -> list[LevelLogits]:
        """Return the logits of each chain; the crops of all chains pass as one batch."""
        crops = torch.cat([example.crops for example in examples])
        gaps = torch.cat([neighbour_gaps(example.centres_mm) for example in examples])
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bfloat16):
            vectors = self.network.look(crops, gaps)
        chains = vectors.float().split([len(example.crops) for example in examples])
        return [self.network.read(chain) for chain in chains]

    def save(self, folder: Path) -> None:
        """Write a checkpoint; after an interruption the previous one is intact.

        Raises:
            UserError: If a weight is not finite, or the checkpoint cannot be written (OUTPUT_BAD,
                DISK_FULL); the previous checkpoint remains.
        """
        state = state_of(self.network, self.average, self.optimizer, self.generator, self.step)
        if state is None:
            raise self._not_finite("weights are")
        # Written first: a checkpoint always has its record, even if the process is killed.
        write_record(self.record, folder)
        save_checkpoint(state, folder)

    def resume(self, folder: Path) -> bool:
        """Continue from the checkpoint in a folder; return False if there is none.

        Raises:
            UserError: If the checkpoint is damaged, or of another network (MODEL_BAD).
        """
        if not has_checkpoint(folder):
            return False
        state = restored(folder, self.network, self.optimizer, self.generator)
        self.average, self.step = state["average"], int(state["step"])
        return True

    def _not_finite(self, what: str) -> UserError:
        rate = self.optimizer.param_groups[0]["lr"]
        return not_finite(what, self.step, rate, self.options.learning_rate)
