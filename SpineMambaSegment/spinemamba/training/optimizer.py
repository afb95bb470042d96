"""Parameter groups of the optimizer."""

from __future__ import annotations

from torch import nn

from spinemamba.training.options import TrainOptions


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
