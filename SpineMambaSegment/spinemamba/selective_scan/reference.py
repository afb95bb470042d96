"""Reference implementation of the selective scan, with which all other back ends must agree."""

from __future__ import annotations

import torch
from torch import Tensor


def scan_reference(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:  # noqa: N803
    """Run the selective scan token by token, in the precision of the inputs.

    This is algorithm 2 of Mamba (arXiv 2312.00752). A is discretised as exp(delta A), and B, as in
    the authors' code, as delta B::

        h_t = exp(delta_t A) h_{t-1} + delta_t u_t B_t        y_t = C_t . h_t + D u_t

    L is the number of tokens, d of channels, n of states per channel; h is the state.

    Args:
        u: Input signal, (batch, L, d).
        delta: Step sizes, positive, (batch, L, d).
        A: Decay rates, negative, (d, n).
        B: Input weights, (batch, L, n).
        C: Output weights, (batch, L, n).
        D: Weight of the direct path, (d,).

    Returns:
        Output y, (batch, L, d).
    """
    state = u.new_zeros(u.shape[0], *A.shape)  # (batch, d, n)
    outputs = []
    for t in range(u.shape[1]):
        decay = torch.exp(delta[:, t, :, None] * A)  # (batch, d, n)
        state = decay * state + (delta[:, t] * u[:, t])[:, :, None] * B[:, t, None, :]
        outputs.append((state @ C[:, t, :, None])[..., 0] + D * u[:, t])
    return torch.stack(outputs, dim=1)
