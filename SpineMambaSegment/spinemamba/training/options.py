"""Options of a training, kept with its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from spinemamba.training.data.patches import PatchOptions
from spinemamba.training.loss import LossWeights
from spinemamba.training.phases import LastPhase
from spinemamba.training.synthesis.options import DEFAULT_SYNTHESIS, SynthesisOptions

PRECISIONS = ("float32", "bfloat16", "float16")

Order = Literal["sequence", "numbered"]
"""How random numbers are given to patches: one sequence for all, or a seed for each."""


@dataclass(frozen=True)
class TrainOptions:
    """Schedule and optimizer.

    Attributes:
        minutes: Wall-clock time of the whole schedule, over all calls; None for no limit. With a
            limit, the learning rate depends on the speed of the computer.
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
        precision: Precision of convolutions and linear layers, "float32", "bfloat16" or "float16";
            weights, scans, affinities and losses stay in float32.
        batch_size: Patches per batch of each process.
        accumulate: Batches per step, whose gradients are averaged.
        order: Whether the patches come from one "sequence" of random numbers, or are "numbered",
            with a seed for each, so that several processes can draw them.
        synthesis: Probabilities of the image synthesis.
        patch: Distribution of patches; None for the default.
    """

    minutes: float | None = 60.0
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
    precision: str = "float32"
    batch_size: int = 1
    accumulate: int = 1
    order: Order = "sequence"
    synthesis: SynthesisOptions = DEFAULT_SYNTHESIS
    patch: PatchOptions | None = None
