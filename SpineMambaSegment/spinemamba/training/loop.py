"""The training loop, top to bottom: draw, paint, learn, average, save."""

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
from spinemamba.training.checkpoint import all_finite, has_checkpoint, load_pieces, save_pieces
from spinemamba.training.data.dataset import Case
from spinemamba.training.data.patches import PatchOptions, draw_patch
from spinemamba.training.data.public_cases import attributions, merged
from spinemamba.training.folder import read_about, write_about
from spinemamba.training.loss import Truth, spine_loss
from spinemamba.training.metrics_log import Curves
from spinemamba.training.synthesis.paint import paint

Report = Callable[[str], None]


@dataclass(frozen=True)
class TrainOptions:
    """How long and how fast to learn.

    Attributes:
        minutes: Wall-clock time of the whole schedule, over all calls.
        steps: Steps of the whole schedule, over all calls; what comes first ends it.
        learning_rate: Peak rate of AdamW; warms up over 100 steps and falls to zero as a cosine.
        weight_decay: Not applied to norms, biases, the shape prior and the scan's own numbers.
        level_weight: Weight of the levels in the loss.
        clip: Largest norm of the gradient.
        ema: Decay of the averaged weights, which are the ones that ship.
        seed: Seed of weights, patches and appearance.
        save_every_s: Seconds between checkpoints.
        kind: Which network, one of `kinds.KINDS`.
        bfloat16: Whether convolutions and linear layers run in bfloat16; weights, scans, affinities
            and losses stay in float32.
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


class Trainer:
    """One network in training; everything needed to go on after an interruption.

    Args:
        config: The network.
        cases: Where patches come from; each with a weight in ``weights``.
        weights: How often each case is drawn, relative.
        options: The schedule.
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
        self.optimizer = torch.optim.AdamW(_groups(self.network, options), lr=0.0)
        self.generator = torch.Generator().manual_seed(options.seed)
        self.patch = PatchOptions(config.patch_vox)
        self.step, self.seconds = 0, 0.0
        self.drawing_share = 0.0  # of the last step's time: what training waits for synthesis
        self.started_from = ""  # name and version of a model
        self.sources = attributions([case.name for case in cases])

    @property
    def done(self) -> float:
        """Share of the schedule that is over; 1 or more at its end."""
        by_time = self.seconds / (60 * self.options.minutes)
        return max(self.step / self.options.steps, by_time)

    def run(self, folder: Path, report: Report) -> None:
        """Train until the schedule is over; checkpoints and curves go to ``folder``.

        Raises:
            UserError: If the loss or a weight is not finite any more (the last good checkpoint
                stays), or something cannot be written (OUTPUT_BAD, DISK_FULL).
        """
        before = saved = time.monotonic()
        curves = Curves(folder, report)
        try:
            while self.done < 1:
                values = self.learn()
                now = time.monotonic()
                self.seconds += now - before
                before = now
                curves.add(self.step, values | {"drawing": self.drawing_share}, self.seconds)
                if now - saved > self.options.save_every_s:
                    self.save(folder)
                    saved = now
        finally:
            curves.close()
        self.save(folder)

    def draw(self) -> tuple[Tensor, Truth]:
        """Return the image (1, 1, D, H, W) of a random patch, and what is true of it."""
        chosen = int(torch.multinomial(self.weights, 1, generator=self.generator))
        patch = draw_patch(self.cases[chosen], self.patch, self.generator)
        image = paint(patch, self.generator)
        return image[None, None], Truth(patch.target[None], patch.core[None], patch.offset[None])

    def examples(self, count: int) -> list[tuple[Tensor, Truth]]:
        """Return patches to look at, without a change to those that the training will see."""
        state = self.generator.get_state()
        patches = [self.draw() for _ in range(count)]
        self.generator.set_state(state)
        return patches

    def learn(self) -> dict[str, float]:
        """Take one step; return the parts of its loss.

        Raises:
            UserError: If the loss or its gradient is not finite; the weights stay as they were.
        """
        started = time.monotonic()
        rate = self.options.learning_rate * rate_factor(self.step, self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        image, truth = self.draw()
        drawn = time.monotonic()
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.options.bfloat16):
            logits = self.network(image)
        loss, parts = spine_loss(logits.float(), truth, self.options.level_weight)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        if not all_finite([loss, norm]):
            raise self._diverged("loss or its gradient is")
        self.optimizer.step()
        self.step += 1
        self._update_average()
        self.drawing_share = (drawn - started) / (time.monotonic() - started)
        return parts

    @torch.no_grad()
    def _update_average(self) -> None:
        # Short memory at first, or the average would hold on to the random start.
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def save(self, folder: Path) -> None:
        """Write a checkpoint; an interrupted write leaves the one before intact.

        Raises:
            UserError: If a weight is not finite: then the checkpoint before stays; or if it cannot
                be written (OUTPUT_BAD, DISK_FULL).
        """
        if not all_finite([*self.network.state_dict().values(), *self.average.values()]):
            raise self._diverged("weights are")
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        about = {
            "network": self.config.to_json(),
            "options": asdict(self.options),
            "started_from": self.started_from,
            "sources": self.sources,
        }
        # First, so that no checkpoint is without it, whenever the process is killed.
        write_about(about, folder)
        save_pieces(state, folder)

    def _diverged(self, what: str) -> UserError:
        return UserError(
            f"The {what} not finite at step {self.step + 1}, at the learning rate "
            f"{self.optimizer.param_groups[0]['lr']:.3g} (--learning-rate "
            f"{self.options.learning_rate:g}). Nothing was saved since the last checkpoint.",
            "Call again with a lower --learning-rate; it goes on from the last checkpoint.",
            Code.INPUT_BAD,
        )

    def start_from(self, model: Model, name: str) -> None:
        """Take over the weights of a network that has learned already; the schedule is new.

        Args:
            model: The model that has the network.
            name: "coarse" or "fine".

        Raises:
            UserError: If they belong to a network of another shape (MODEL_BAD).
        """
        try:
            weights = getattr(model, name).network.state_dict()
            self.network.load_state_dict(_completed(weights, self.network.state_dict()))
        except RuntimeError as error:
            raise UserError(
                "The model to start from has another network: its weights do not fit.",
                "Choose a model of this version, or start without one.",
                Code.MODEL_BAD,
            ) from error
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.sources = merged(model.card.data, self.sources)
        self.started_from = f"{model.card.name} {model.card.version}"

    def resume(self, folder: Path) -> bool:
        """Go on from the checkpoint in a folder; return whether there was one.

        Raises:
            UserError: If it is damaged, or of another network (MODEL_BAD).
        """
        if not has_checkpoint(folder):
            return False
        state, about = load_pieces(folder), read_about(folder)
        try:
            self.network.load_state_dict(state["network"])
            self.average = _like(self.network.state_dict(), state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.generator.set_state(state["generator"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"The checkpoint in {folder} is not one of this network.",
                "Choose another folder with --out, or delete the checkpoint to start again.",
                Code.MODEL_BAD,
            ) from error
        self.sources = merged(tuple(about["sources"]), self.sources)
        self.started_from = about.get("started_from", "")
        return True


def _like(own: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights; ValueError if they are not of a network's names and shapes."""
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in weights.items()}:
        raise ValueError("other weights")
    return weights


def _completed(weights: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with what a younger kind of network has besides taken from ``own``.

    That is the head's last channels, where one without offsets teaches one with them, and the
    stage at full resolution, which changes nothing before it has learned.
    """
    out = {name: value for name, value in own.items() if name.startswith("detail.")} | weights
    for name in {"head.weight", "head.bias"} & weights.keys() & own.keys():
        out[name] = torch.cat([weights[name], own[name][len(weights[name]) :]])
    return out


def rate_factor(step: int, done: float) -> float:
    """Return the share of the peak learning rate: a short warm-up, then half a cosine to zero."""
    return min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _groups(network: nn.Module, options: TrainOptions) -> list[dict[str, object]]:
    """Split the parameters by whether weight decay suits them."""
    free = ("decay_log", "skip", "skip_scale", "prior", "class_bias")
    decayed, spared = [], []
    for name, parameter in network.named_parameters():
        spare = parameter.ndim < 2 or name.rpartition(".")[2] in free
        (spared if spare else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": options.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
