"""Vertebrae shape prior: learnable class maps that refine a skip connection.

By its wording, the module of SpineMamba derives from the shape prior module of You et al.,
"Learning with Explicit Shape Priors" (arXiv 2303.17967), which is followed here. This is inferred,
because the text of the paper is not public. Deviations, each for a measured reason: InstanceNorm
instead of BatchNorm, an affinity scaled by 1/sqrt(L), and no refresh of the prior in the last
module, whose parameters would get no gradient.

Symbols: B batch size, C channels, (D, H, W) grid, L = D H W voxels, N classes and T tokens of the
shape prior.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from spinemamba.network.blocks import Conv3d, ResBlock, full_precision
from spinemamba.network.config import NetworkConfig


class VSP(nn.Module):
    """Refine the features of a skip connection with the prior, and the prior with the features.

    Args:
        channels: Channels C of the skip connection.
        config: Configuration of the network.
        last: True if no other module uses the prior after this one.
    """

    def __init__(self, channels: int, config: NetworkConfig, last: bool):
        super().__init__()
        tokens = math.prod(config.prior_grid)
        self.grid = config.prior_grid
        self.affinity_scale = config.affinity_scale
        self.update = nn.Sequential(*[_PriorBlock(tokens, config) for _ in range(2)])
        self.norm = nn.LayerNorm(tokens)
        self.refine = ResBlock(channels, channels)
        self.refresh = None if last else Conv3d(channels, config.prior_classes, 1)

    def forward(self, features: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        """Return the refined features and prior.

        Args:
            features: Skip connection, (B, C, D, H, W).
            prior: Class maps on the grid of the prior, (B, N, T).

        Returns:
            Features (B, C, D, H, W) and prior (B, N, T).
        """
        prior = self.norm(self.update(prior))  # (B, N, T)
        b, n, _ = prior.shape
        size = features.shape[2:]
        maps = functional.interpolate(
            prior.reshape(b, n, *self.grid), size=size, mode="trilinear", align_corners=False
        )  # (B, N, D, H, W)
        features = self.refine(features)
        features = features + self._cross_update(features, maps)
        if self.refresh is None:
            return features, prior
        down = functional.adaptive_avg_pool3d(self.refresh(features), self.grid)
        return features, prior + down.reshape(b, n, -1)

    def _cross_update(self, features: Tensor, maps: Tensor) -> Tensor:
        """Return a convex combination of the class maps per channel, weighted by affinity.

        Args:
            features: (B, C, D, H, W).
            maps: Class maps on the same grid, (B, N, D, H, W).

        Returns:
            (B, C, D, H, W).
        """
        with full_precision(features.device):
            f, m = features.float().flatten(2), maps.float().flatten(2)  # (B, C, L), (B, N, L)
            scale = f.shape[2] if self.affinity_scale == "sqrt_l" else m.shape[1]
            affinity = (f @ m.transpose(1, 2) / math.sqrt(scale)).softmax(dim=-1)  # (B, C, N)
            mix = affinity @ m  # (B, C, L)
        return mix.reshape(features.shape).to(features.dtype)


class _PriorBlock(nn.Module):
    """Pre-norm transformer block over the N class tokens, each of dimension T."""

    def __init__(self, tokens: int, config: NetworkConfig):
        super().__init__()
        self.heads = config.prior_heads
        self.norm1 = nn.LayerNorm(tokens)
        self.qkv = nn.Linear(tokens, 3 * tokens)
        self.class_bias = nn.Parameter(
            torch.zeros(self.heads, config.prior_classes, config.prior_classes)
        )
        self.project = nn.Linear(tokens, tokens)
        self.norm2 = nn.LayerNorm(tokens)
        self.mlp = nn.Sequential(
            nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens)
        )

    def forward(self, prior: Tensor) -> Tensor:
        b, n, t = prior.shape
        qkv = self.qkv(self.norm1(prior)).reshape(b, n, 3, self.heads, t // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, N, T / heads)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.class_bias)
        prior = prior + self.project(mixed.transpose(1, 2).reshape(b, n, t))
        return prior + self.mlp(self.norm2(prior))
