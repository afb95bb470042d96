"""Weights as they are stored in files: in half precision, or convolutions in eight bits."""

from __future__ import annotations

import torch
from torch import Tensor

_SCALE = ".scale"
"""Ending of the name of the scales of a weight that is stored as integers."""

_STEPS = 127
"""Largest stored integer."""


def to_stored(state: dict[str, Tensor], *, compact: bool = False) -> dict[str, Tensor]:
    """Return the tensors to store for the weights of a network.

    Half precision has a relative error of 5e-4, far below the change of a training step.

    Args:
        state: Weights by name.
        compact: If True, the weights of 3-D convolutions become integers of eight bits with a scale
            for each output channel. The error is at most half a step, 0.4 % of the largest weight
            of the channel, and the file about half as large.
    """
    stored = {}
    for name, value in state.items():
        if compact and value.ndim == 5:
            scale = value.float().abs().amax(dim=(1, 2, 3, 4)).clamp_min(1e-12) / _STEPS
            steps = (value.float() / scale.view(-1, 1, 1, 1, 1)).round()
            stored[name], stored[name + _SCALE] = steps.to(torch.int8).contiguous(), scale
        else:
            stored[name] = value.half().contiguous()
    return stored


def from_stored(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a network in single precision; the inverse of `to_stored`.

    Raises:
        KeyError: If integers have no scales.
    """
    state = {}
    for name, value in stored.items():
        if value.dtype == torch.int8:
            state[name] = value.float() * stored[name + _SCALE].float().view(-1, 1, 1, 1, 1)
        elif stored.get(name.removesuffix(_SCALE), value).dtype != torch.int8:
            state[name] = value.float()
    return state
