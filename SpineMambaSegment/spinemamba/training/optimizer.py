"""Learning rate and parameter groups of the optimizer."""

from __future__ import annotations

import math

from torch import nn

from spinemamba.training.options import TrainOptions


def rate_factor(step: int, done: float) -> float:
    """Return the learning rate relative to its peak: linear warm-up, then a cosine to zero."""
    return min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def parameter_groups(network: nn.Module, options: TrainOptions) -> list[dict[str, object]]:
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
