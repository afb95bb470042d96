"""Training of the level network: draw chains, and learn from them."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import torch

from spinemamba.network.level_sequence import (
    LevelLogits,
    LevelNetworkConfig,
    LevelSequenceNet,
    neighbour_gaps,
)
from spinemamba.training.data.origin import attributions
from spinemamba.training.execution import ONE_CPU, Execution, mixed_precision
from spinemamba.training.levels.crops import ExampleOptions, LevelExample, draw_example
from spinemamba.training.levels.folder import LevelTrainingRecord, write_record
from spinemamba.training.levels.loss import level_loss
from spinemamba.training.levels.spines import Spine
from spinemamba.training.steps import Training

_WARM_UP_STEPS = 60


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
        precision: Precision of the convolutions, "float32", "bfloat16" or "float16".
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
    precision: str = "float32"
    example: ExampleOptions = field(default_factory=ExampleOptions)


class LevelTrainer(Training):
    """A level network in training, with the whole state that a checkpoint holds.

    Args:
        config: Network.
        spines: Spines from which chains are drawn.
        weights: Relative sampling weight of each spine.
        options: Schedule and optimizer.
        execution: Device of the network. Chains are drawn on the CPU.
    """

    options: LevelTrainOptions

    def __init__(
        self,
        config: LevelNetworkConfig,
        spines: list[Spine],
        weights: list[float],
        options: LevelTrainOptions,
        execution: Execution = ONE_CPU,
    ):
        torch.manual_seed(options.seed)
        network = LevelSequenceNet(config)  # on the CPU, so that weights are equal
        network.to(execution.device)
        groups = [{"params": list(network.parameters()), "weight_decay": options.weight_decay}]
        super().__init__(network, groups, options, execution)
        self.spines, self.weights = spines, torch.tensor(weights)
        origins = [(spine.case.name, spine.case.origin) for spine in spines]
        self.record = LevelTrainingRecord(config, asdict(options), attributions(origins))

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
        started = time.monotonic()
        self._set_rate(_WARM_UP_STEPS)
        examples = [_on_device(example, self.execution.device) for example in self.draw()]
        waited = time.monotonic() - started
        loss, sums = torch.zeros((), device=self.execution.device), {}
        for logits, example in zip(self._read(examples), examples, strict=True):
            part, parts = level_loss(logits, example)
            loss = loss + part / len(examples)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value / len(examples)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self._change_weights([loss.detach()])
        self._count_step()
        self.waiting = waited / (time.monotonic() - started)
        return sums

    def _read(self, examples: list[LevelExample]) -> list[LevelLogits]:
        """Return the logits of each chain; the crops of all chains pass as one batch."""
        crops = torch.cat([example.crops for example in examples])
        gaps = torch.cat([neighbour_gaps(example.centres_mm) for example in examples])
        with mixed_precision(self.options.precision, self.execution.device):
            vectors = self.network.look(crops, gaps)
        chains = vectors.float().split([len(example.crops) for example in examples])
        return [self.network.read(chain) for chain in chains]

    def _write_record(self, folder: Path) -> None:
        write_record(self.record, folder)

    def resume(self, folder: Path) -> bool:
        """Continue from the checkpoint in a folder; return False if there is none.

        Raises:
            UserError: If the checkpoint is damaged, or of another network (MODEL_BAD).
        """
        return self._restore(folder) is not None


def _on_device(example: LevelExample, device: torch.device) -> LevelExample:
    """Return an example on a device."""
    moved = {one.name: getattr(example, one.name).to(device) for one in fields(example)}
    return replace(example, **moved)
