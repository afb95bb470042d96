"""Size of a network: parameters, and multiply-adds per patch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from spinemamba.network.config import NetworkConfig
from spinemamba.network.unet import SpineMambaNet, parameter_count

_MACS_PER_STATE = 3
"""Multiply-adds of a state in one step: decay, input and output."""


@dataclass(frozen=True)
class NetworkSize:
    """Size of a network, independent of the hardware.

    Attributes:
        parameters: Number of trainable parameters.
        macs: Multiply-adds of the forward pass of one patch: convolutions, matrix products and
            scans.
        scan_macs: Multiply-adds of the scans alone.
    """

    parameters: int
    macs: int
    scan_macs: int


def network_size(config: NetworkConfig) -> NetworkSize:
    """Return the size of a network, from shapes alone on the device "meta"."""
    scans: list[int] = []

    def count(u: tuple, delta: tuple, A: tuple, *rest: object, **_: object) -> int:  # noqa: N803
        batch, tokens, _ = u
        orders, channels, states = A
        rank = delta[-1]
        scans.append(batch * tokens * orders * channels * (_MACS_PER_STATE * states + rank))
        return 2 * scans[-1]

    with torch.device("meta"):
        network = SpineMambaNet(config).eval()
        patch = torch.empty(1, 1, *config.patch_vox)
    parameters = parameter_count(network)
    network.requires_grad_(False)
    formulas = {torch.ops.spinemamba.selective_scan: count}
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter, torch.no_grad():
        network(patch)
    return NetworkSize(parameters, counter.get_total_flops() // 2, sum(scans))
