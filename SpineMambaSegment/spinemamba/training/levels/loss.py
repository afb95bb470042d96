"""Loss of the level network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.network.level_sequence import NO_VERTEBRA, LevelLogits
from spinemamba.training.levels.crops import LevelExample

_NEIGHBOUR = 0.02
"""Probability of each neighbour in the targets: the levels of few patients must not be learned with
certainty."""

_WITNESS_WEIGHT = 0.4


def level_loss(logits: LevelLogits, example: LevelExample) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a chain, and its parts."""
    log_probability = functional.log_softmax(logits.levels, dim=1)
    levels = -(_softened(example.levels) * log_probability).sum(dim=1).mean()
    errors = functional.binary_cross_entropy_with_logits(
        logits.witnesses, example.witnesses, reduction="none"
    )
    witnesses = (errors * example.known).sum() / example.known.sum().clamp_min(1)
    parts = {"levels": float(levels.detach()), "witnesses": float(witnesses.detach())}
    return levels + _WITNESS_WEIGHT * witnesses, parts


def _softened(levels: Tensor) -> Tensor:
    """Return targets with a part of each level's probability at its neighbours."""
    names = levels[:, :NO_VERTEBRA]
    spread = torch.zeros_like(names)
    spread[:, 1:] += _NEIGHBOUR * names[:, :-1]
    spread[:, :-1] += _NEIGHBOUR * names[:, 1:]
    kept = names * (1 - 2 * _NEIGHBOUR) + spread
    out = torch.cat([kept, levels[:, NO_VERTEBRA:]], dim=1)
    return out / out.sum(dim=1, keepdim=True)
