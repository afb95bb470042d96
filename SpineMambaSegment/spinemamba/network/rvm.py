"""Residual visual Mamba layer.

SpineMamba describes this layer in the words of LightM-UNet (arXiv 2403.05246), whose formulas are
used here: ``M' = VSSM(LN(M)) + s M``, ``M_out = Linear(LN(M'))``, where M are the tokens, LN is a
layer norm and s a learned scale. The state-space model is Mamba (arXiv 2312.00752, algorithm 2).

Symbols: B batch size, C channels, (D, H, W) grid, L = D H W tokens, E inner channels, S states,
K scan orders, R rank of the step sizes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spinemamba.network.blocks import Linear, full_precision, linear
from spinemamba.network.config import NetworkConfig
from spinemamba.selective_scan import fused
from spinemamba.selective_scan.dispatch import choose_backend, selective_scan_3d
from spinemamba.selective_scan.grid import GridScan
from spinemamba.selective_scan.orders import CROSS, RASTER, REVERSED, SLICES_LAST

ORDERS = {
    "raster": (RASTER,),
    "bi": (RASTER, REVERSED),
    "tri": (RASTER, REVERSED, SLICES_LAST),
    "cross": CROSS,
}
"""Scan orders of each setting of `NetworkConfig.scan`."""


class RVM(nn.Module):
    """Residual visual Mamba layer on a grid with C channels."""

    def __init__(self, channels: int, config: NetworkConfig):
        super().__init__()
        self.norm_in = nn.LayerNorm(channels)
        self.mixer = VSSM(channels, config)
        scale = channels if config.skip_scale == "channel" else 1
        self.skip_scale = nn.Parameter(torch.ones(scale))
        self.norm_out = None if config.share_norm else nn.LayerNorm(channels)
        self.project = Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, D, H, W) to the same shape."""
        b, c, *grid = x.shape
        with full_precision(x.device):
            # Channels last in memory: all later steps access whole rows of channels.
            t = x.float().reshape(b, c, -1).transpose(1, 2).contiguous()  # (B, L, C), raster order
            mixed = self.mixer(self.norm_in(t), tuple(grid))  # (B, L, C)
            y = torch.addcmul(mixed, self.skip_scale, t)  # (B, L, C)
            out = self.project((self.norm_out or self.norm_in)(y))  # (B, L, C)
        return out.transpose(1, 2).reshape(b, c, *grid).to(x.dtype)


class VSSM(nn.Module):
    """Visual state-space module: gate, local mixing, selective scans in K orders."""

    def __init__(self, channels: int, config: NetworkConfig):
        super().__init__()
        inner = config.expand * channels
        self.state_size = config.state_size
        self.rank = math.ceil(channels / 16)
        self.expand_in = Linear(channels, 2 * inner, bias=False)
        self.local = _local_mixing(inner, config.local)
        self.directions = nn.ModuleList(
            _Direction(inner, self.rank, config) for _ in range(config.scan_orders)
        )
        self.norm = nn.LayerNorm(inner) if config.post_norm else nn.Identity()
        self.orders = ORDERS[config.scan]
        # Select the back end now, so that a compiler does not trace the selection in `forward`.
        choose_backend("cpu")
        self.project = Linear(inner, channels, bias=False)

    def forward(self, t: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Map tokens (B, L, C) of a (D, H, W) grid to tokens of the same shape."""
        x, gate = self.expand_in(t).chunk(2, dim=-1)  # each (B, L, E)
        x = self.local(x, grid)  # (B, L, E)
        y = selective_scan_3d(self._scan_inputs(x), grid, self.orders)  # (B, L, E)
        return self.project(fused.gate(self.norm(y), gate))  # (B, L, C)

    def _scan_inputs(self, x: Tensor) -> GridScan:
        """Return the inputs of the scans of tokens (B, L, E) in all K orders."""
        directions = list(self.directions)
        weight = torch.cat([each.select.weight for each in directions])  # (K (R + 2 S), E)
        projected = linear(x, weight).unflatten(2, (len(directions), -1))  # (B, L, K, R + 2 S)
        sizes = (self.rank, self.state_size, self.state_size)
        low_rank, b, c = projected.split(sizes, dim=-1)  # (B, L, K, R), 2 x (B, L, K, S)
        return GridScan(
            u=x,
            low_rank=low_rank,
            A=torch.stack([each.rates() for each in directions]),  # (K, E, S)
            B=b,
            C=c,
            D=torch.stack([each.skip for each in directions]),  # (K, E)
            weight=torch.stack([each.step.weight for each in directions]),  # (K, E, R)
            bias=torch.stack([each.step.bias for each in directions]),  # (K, E)
        )


class _Direction(nn.Module):
    """Parameters of one scan order; `VSSM` runs all orders in one call."""

    def __init__(self, inner: int, rank: int, config: NetworkConfig):
        super().__init__()
        states = config.state_size
        self.select = nn.Linear(inner, rank + 2 * states, bias=False)
        self.step = nn.Linear(rank, inner)
        # Decay rates are 1 to S initially, as in Mamba; tied rates have one learned factor.
        start = torch.arange(1, states + 1).float()
        self.register_buffer("multiples", start if config.tied_decay else None, persistent=False)
        decay_log = torch.zeros(inner, 1) if config.tied_decay else start.log().repeat(inner, 1)
        self.decay_log = nn.Parameter(decay_log)
        self.skip = nn.Parameter(torch.ones(inner))
        nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)
        # softplus(bias) is log-uniform in [1e-3, 1e-1], as in the reference code of Mamba.
        step = torch.exp(torch.empty(inner).uniform_(math.log(1e-3), math.log(1e-1)))
        with torch.no_grad():
            self.step.bias.copy_(step + torch.log(-torch.expm1(-step)))

    def rates(self) -> Tensor:
        """Return the decay rates A, negative, (E, S)."""
        rates = -self.decay_log.exp()  # (E, S), or (E, 1) if tied
        return rates if self.multiples is None else rates * self.multiples


class _Conv1d(nn.Module):
    """Causal depthwise convolution over four tokens and SiLU, as in Mamba."""

    def __init__(self, inner: int):
        super().__init__()
        self.conv = nn.Conv1d(inner, inner, 4, padding=3, groups=inner)

    def forward(self, x: Tensor, grid: tuple[int, ...]) -> Tensor:
        return fused.convolve(x, self.conv.weight[:, 0], self.conv.bias)


class _Conv3d(nn.Module):
    """Depthwise 3x3x3 convolution on the grid and SiLU."""

    def __init__(self, inner: int):
        super().__init__()
        self.conv = nn.Conv3d(inner, inner, 3, padding=1, groups=inner)

    def forward(self, x: Tensor, grid: tuple[int, ...]) -> Tensor:
        b, length, e = x.shape
        y = self.conv(x.transpose(1, 2).reshape(b, e, *grid))  # (B, E, D, H, W)
        return fused.silu(y.reshape(b, e, length).transpose(1, 2))


def _local_mixing(inner: int, kind: str) -> nn.Module:
    return _Conv1d(inner) if kind == "conv1d" else _Conv3d(inner)
