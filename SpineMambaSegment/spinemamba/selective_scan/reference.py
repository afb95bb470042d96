"""The selective scan as one reads it in the paper: the truth for every fast path."""

from __future__ import annotations

import torch
from torch import Tensor


def scan_reference(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:  # noqa: N803
    """Run the selective scan token by token, in the precision of the inputs.

    Mamba, arXiv 2312.00752, algorithm 2; discretised with exp(delta A) and, simplified as in the
    authors' code, delta B::

        h_t = exp(delta_t A) h_{t-1} + delta_t u_t B_t        y_t = C_t . h_t + D u_t

    Args:
        u: Signal, (batch, L, d).
        delta: Step sizes, positive, (batch, L, d).
        A: Decay rates, negative, (d, n).
        B: Input weights, (batch, L, n).
        C: Output weights, (batch, L, n).
        D: Weight of the signal itself, (d,).

    Returns:
        y, (batch, L, d).
    """
    state = u.new_zeros(u.shape[0], *A.shape)  # (batch, d, n)
    outputs = []
    for t in range(u.shape[1]):
        decay = torch.exp(delta[:, t, :, None] * A)  # (batch, d, n)
        state = decay * state + (delta[:, t] * u[:, t])[:, :, None] * B[:, t, None, :]
        outputs.append((state @ C[:, t, :, None])[..., 0] + D * u[:, t])
    return torch.stack(outputs, dim=1)
