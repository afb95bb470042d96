"""The training loop: draw a patch, paint it, step, average the weights, save."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from spinemamba.common.errors import Code, UserError
from spinemamba.inference.model import Model
from spinemamba.network.config import NetworkConfig
from spinemamba.training.baselines import build_network
from spinemamba.training.checkpoint import all_finite, has_checkpoint, save_checkpoint
from spinemamba.training.data.dataset import Case
from spinemamba.training.data.origin import attributions, merged
from spinemamba.training.data.patches import PatchOptions, draw_patch
from spinemamba.training.folder import TrainingRecord, read_metadata, write_metadata
from spinemamba.training.loss import LossWeights, Targets, spine_loss
from spinemamba.training.monitoring import MetricsLog
from spinemamba.training.phases import LastPhase, last_phase
from spinemamba.training.steps import (
    not_finite,
    rate_factor,
    restored,
    state_of,
    update_average,
)
from spinemamba.training.synthesis.options import DEFAULT_SYNTHESIS, SynthesisOptions
from spinemamba.training.synthesis.paint import paint

Report = Callable[[str], None]


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
        loss: Weights of the parts of the loss.
        last_phase: What changes towards the end of the schedule, if there are real images.
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
    loss: LossWeights = field(default_factory=lambda: LossWeights(level=0.5))
    last_phase: LastPhase = field(default_factory=LastPhase)
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
        self.last_phase = last_phase(options.last_phase, cases)
        self.step, self.seconds = 0, 0.0
        self.drawing_share = 0.0  # share of the last step's time spent on drawing the patch
        self.started_from = ""  # name and version of the initial model
        self.sources = attributions((case.name, case.origin) for case in cases)

    @property
    def done(self) -> float:
        """Completed share of the schedule; 1 or more at its end."""
        by_time = self.seconds / (60 * self.options.minutes)
        return max(self.step / self.options.steps, by_time)

    def run(self, folder: Path, report: Report) -> None:
        """Train to the end of the schedule; write checkpoints and metrics to ``folder``.

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
                metrics.add(self.step, losses | {"drawing": self.drawing_share}, self.seconds)
                if now - saved > self.options.save_every_s:
                    self.save(folder)
                    saved = now
        finally:
            metrics.close()
        self.save(folder)

    def draw(self) -> tuple[Tensor, Targets]:
        """Return the image (1, 1, D, H, W) of a random patch, and its targets."""
        phase, done = self.last_phase, self.done
        weights = phase.case_weights(self.weights, self.cases, done)
        case = self.cases[int(torch.multinomial(weights, 1, generator=self.generator))]
        strength = phase.strength(done)
        patch = draw_patch(case, self.patch.weakened(strength), self.generator)
        image = paint(patch, self.generator, self.options.synthesis.weakened(strength))
        beside = torch.zeros_like(patch.target) if patch.beside is None else patch.beside
        fields = (patch.target, patch.bone, patch.core, patch.offset, beside)
        return image[None, None], Targets(*(field[None] for field in fields))

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
        weights = self.last_phase.loss_weights(self.options.loss, self.done)
        loss, parts = spine_loss(logits.float(), targets, weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        if not all_finite([loss, norm]):
            raise self._not_finite("loss or its gradient is")
        self.optimizer.step()
        self.step += 1
        update_average(self.average, self.network, self.options.ema, self.step)
        self.drawing_share = (drawn_at - started) / (time.monotonic() - started)
        return parts

    def save(self, folder: Path) -> None:
        """Write a checkpoint; after an interruption the previous one is intact.

        Raises:
            UserError: If a weight is not finite, or the checkpoint cannot be written (OUTPUT_BAD,
                DISK_FULL); the previous checkpoint remains.
        """
        state = state_of(self.network, self.average, self.optimizer, self.generator, self.step)
        if state is None:
            raise self._not_finite("weights are")
        metadata = TrainingRecord(
            self.config, asdict(self.options), tuple(self.sources), started_from=self.started_from
        )
        # Written first: a checkpoint always has its metadata, even if the process is killed.
        write_metadata(metadata, folder)
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
        metadata = read_metadata(folder)
        state = restored(folder, self.network, self.optimizer, self.generator)
        self.average = state["average"]
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
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
