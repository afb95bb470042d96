"""The training loop: draw a patch, paint it, step, average the weights, save."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from spinemamba.common.errors import Code, UserError
from spinemamba.inference.model import Model
from spinemamba.network.config import NetworkConfig
from spinemamba.training.baselines import build_network
from spinemamba.training.checkpoint import (
    all_finite,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from spinemamba.training.data.dataset import Case
from spinemamba.training.data.origin import attributions, merged
from spinemamba.training.data.patches import PatchOptions, draw_patch
from spinemamba.training.folder import TrainingRecord, read_metadata, write_metadata
from spinemamba.training.loss import Targets, spine_loss
from spinemamba.training.monitoring import MetricsLog
from spinemamba.training.synthesis.options import DEFAULT_SYNTHESIS, SynthesisOptions
from spinemamba.training.synthesis.paint import paint

Report = Callable[[str], None]
AfterStep = Callable[["Trainer"], bool]


@dataclass(frozen=True)
class TrainOptions:
    """Schedule and optimizer.

    Attributes:
        minutes: Wall-clock time of the whole schedule, over all calls.
        steps: Steps of the whole schedule, over all calls. Training ends at the first of the two
            limits.
        learning_rate: Peak rate of AdamW; warms up over 100 steps and falls to zero as a cosine.
        weight_decay: Weight decay; not applied to norms, biases, the shape prior and the
            parameters of the scan.
        level_weight: Weight of the level loss.
        clip: Largest norm of the gradient.
        ema: Decay of the exponential moving average of the weights, which a model is packed from.
        seed: Seed of weights, patches and appearance.
        save_every_s: Seconds between checkpoints.
        kind: Kind of network, one of `architectures.KINDS`.
        bfloat16: Whether convolutions and linear layers run in bfloat16; weights, scans, affinities
            and losses stay in float32.
        synthesis: Probabilities of the image synthesis.
        patch: Distribution of patches; None for the default.
    """

    minutes: float = 60.0
    steps: int = 4000
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    level_weight: float = 0.5
    clip: float = 5.0
    ema: float = 0.998
    seed: int = 0
    save_every_s: float = 120.0
    kind: str = "spinemamba"
    bfloat16: bool = False
    synthesis: SynthesisOptions = DEFAULT_SYNTHESIS
    patch: PatchOptions | None = None


class Trainer:
    """One network in training, with the whole state that a checkpoint holds.

    Args:
        config: Network.
        cases: Cases from which patches are drawn.
        weights: Relative sampling weight of each case.
        options: Schedule and optimizer.
    """

    def __init__(
        self,
        config: NetworkConfig,
        cases: list[Case],
        weights: list[float],
        options: TrainOptions,
    ):
        torch.manual_seed(options.seed)
        self.options = options
        self.cases, self.weights = cases, torch.tensor(weights)
        self.network = build_network(config, options.kind)
        self.config = self.network.config
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(_parameter_groups(self.network, options), lr=0.0)
        self.generator = torch.Generator().manual_seed(options.seed)
        self.patch = options.patch or PatchOptions(config.patch_vox)
        self.step, self.seconds = 0, 0.0
        self.drawing_share = 0.0  # share of the last step's time spent on drawing the patch
        self.started_from = ""  # name and version of the initial model
        self.sources = attributions((case.name, case.origin) for case in cases)

    @property
    def done(self) -> float:
        """Completed share of the schedule; 1 or more at its end."""
        by_time = self.seconds / (60 * self.options.minutes)
        return max(self.step / self.options.steps, by_time)

    def run(self, folder: Path, report: Report, after_step: AfterStep | None = None) -> None:
        """Train to the end of the schedule; write checkpoints and metrics to ``folder``.

        Args:
            folder: Folder of the training.
            report: Receives messages.
            after_step: Called after every step; returns whether training ends. Its time does not
                count.

        Raises:
            UserError: If the loss or a weight is no longer finite (the last checkpoint remains), or
                an output cannot be written (OUTPUT_BAD, DISK_FULL).
        """
        before = saved = time.monotonic()
        metrics = MetricsLog(folder, report)
        try:
            while self.done < 1:
                losses = self.learn()
                now = time.monotonic()
                self.seconds += now - before
                before = now
                values = losses | {"drawing": self.drawing_share}
                metrics.add(self.step, values, self.seconds, self.done)
                if now - saved > self.options.save_every_s:
                    self.save(folder)
                    saved = now
                if after_step is not None:
                    paused = time.monotonic()
                    ends = after_step(self)
                    before += time.monotonic() - paused
                    if ends:
                        break
        finally:
            metrics.close()
        self.save(folder)

    def draw(self) -> tuple[Tensor, Targets]:
        """Return the image (1, 1, D, H, W) of a random patch, and its targets."""
        index = int(torch.multinomial(self.weights, 1, generator=self.generator))
        patch = draw_patch(self.cases[index], self.patch, self.generator)
        image = paint(patch, self.generator, self.options.synthesis)
        return image[None, None], Targets(patch.target[None], patch.core[None], patch.offset[None])

    def examples(self, count: int) -> list[tuple[Tensor, Targets]]:
        """Return patches for a preview; the patches of the training stay the same."""
        state = self.generator.get_state()
        patches = [self.draw() for _ in range(count)]
        self.generator.set_state(state)
        return patches

    def learn(self) -> dict[str, float]:
        """Take one step; return the parts of its loss.

        Raises:
            UserError: If the loss or its gradient is not finite; the weights are unchanged.
        """
        started = time.monotonic()
        rate = self.options.learning_rate * rate_factor(self.step, self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        image, targets = self.draw()
        drawn_at = time.monotonic()
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.options.bfloat16):
            logits = self.network(image)
        loss, parts = spine_loss(logits.float(), targets, self.options.level_weight)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        if not all_finite([loss, norm]):
            raise self._not_finite("loss or its gradient is")
        self.optimizer.step()
        self.step += 1
        self._update_average()
        self.drawing_share = (drawn_at - started) / (time.monotonic() - started)
        return parts

    @torch.no_grad()
    def _update_average(self) -> None:
        # A smaller decay at first, so that the average forgets the random initial weights.
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def save(self, folder: Path) -> None:
        """Write a checkpoint; after an interruption the previous one is intact.

        Raises:
            UserError: If a weight is not finite, or the checkpoint cannot be written (OUTPUT_BAD,
                DISK_FULL); the previous checkpoint remains.
        """
        if not all_finite([*self.network.state_dict().values(), *self.average.values()]):
            raise self._not_finite("weights are")
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        metadata = TrainingRecord(
            self.config, asdict(self.options), tuple(self.sources), started_from=self.started_from
        )
        # Written first: a checkpoint always has its metadata, even if the process is killed.
        write_metadata(metadata, folder)
        save_checkpoint(state, folder)

    def _not_finite(self, what: str) -> UserError:
        return UserError(
            f"The {what} not finite at step {self.step + 1}, at the learning rate "
            f"{self.optimizer.param_groups[0]['lr']:.3g} (--learning-rate "
            f"{self.options.learning_rate:g}). Nothing was saved since the last checkpoint.",
            "Repeat the command with a lower --learning-rate. It continues from that checkpoint.",
            Code.INPUT_BAD,
        )

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
            self.network.load_state_dict(_completed(weights, self.network.state_dict()))
        except RuntimeError as error:
            raise UserError(
                "The weights of the model to start from do not fit this network.",
                "Choose a model of this version, or leave out --start-from.",
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
        state, metadata = load_checkpoint(folder), read_metadata(folder)
        try:
            self.network.load_state_dict(state["network"])
            self.average = _checked(state["average"], self.network.state_dict())
            self.optimizer.load_state_dict(state["optimizer"])
            self.generator.set_state(state["generator"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"The checkpoint in {folder} belongs to another network.",
                "Choose another folder with --out, or delete the checkpoint to start again.",
                Code.MODEL_BAD,
            ) from error
        self.sources = merged(metadata.sources, self.sources)
        self.started_from = metadata.started_from
        return True


def _checked(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return ``weights``; raise ValueError if names or shapes differ from ``expected``."""
    if {k: v.shape for k, v in expected.items()} != {k: v.shape for k, v in weights.items()}:
        raise ValueError("names or shapes of weights differ")
    return weights


def _completed(weights: dict[str, Tensor], initial: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return ``weights``, with parts that older networks lack taken from ``initial``.

    These are the last channels of the head, if a network without offsets initialises one with
    them, and the stage at full resolution, which initially does not change the output.
    """
    out = {name: value for name, value in initial.items() if name.startswith("detail.")} | weights
    for name in {"head.weight", "head.bias"} & weights.keys() & initial.keys():
        out[name] = torch.cat([weights[name], initial[name][len(weights[name]) :]])
    return out


def rate_factor(step: int, done: float) -> float:
    """Return the learning rate relative to its peak: linear warm-up, then a cosine to zero."""
    return min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _parameter_groups(network: nn.Module, options: TrainOptions) -> list[dict[str, object]]:
    """Return the parameter groups of AdamW, with and without weight decay."""
    without_decay = ("decay_log", "skip", "skip_scale", "prior", "class_bias")
    decayed, not_decayed = [], []
    for name, parameter in network.named_parameters():
        if parameter.ndim < 2 or name.rpartition(".")[2] in without_decay:
            not_decayed.append(parameter)
        else:
            decayed.append(parameter)
    return [
        {"params": decayed, "weight_decay": options.weight_decay},
        {"params": not_decayed, "weight_decay": 0.0},
    ]
