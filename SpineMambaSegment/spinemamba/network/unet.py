"""The whole network: residual CNN and RVM encoder, shape priors on the skips, decoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spinemamba.network.blocks import (
    Conv3d,
    ResBlock,
    fold,
    full_precision,
    normal_parameter,
    unfold,
)
from spinemamba.network.config import CORE, NetworkConfig
from spinemamba.network.detail import Detail
from spinemamba.network.rvm import RVM
from spinemamba.network.vsp import VSP


class SpineMambaNet(nn.Module):
    """U-shaped CNN and Mamba hybrid.

    Args:
        config: Shape and switches; `NetworkConfig` explains each.
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        folded = config.stem_stride**3
        widths = config.channels
        self.encoder = nn.ModuleList(
            _stage(widths[k - 1] if k else folded, widths[k], config.encoder_rvm[k], k > 0, config)
            for k in range(len(widths))
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(widths[k + 1], widths[k], 2, 2) for k in range(len(widths) - 1)
        )
        self.decoder = nn.ModuleList(
            _stage(2 * widths[k], widths[k], config.decoder_rvm[k], False, config)
            for k in range(len(widths) - 1)
        )
        self.head = Conv3d(widths[0], config.outputs * folded, 1)
        self.detail = Detail(config) if config.detail_channels else None
        stages = config.vsp_stages if config.vsp else ()
        self.vsp = nn.ModuleDict(
            {str(k): VSP(widths[k], config, last=k == min(stages)) for k in stages}
        )
        tokens = math.prod(config.prior_grid)
        self.prior = normal_parameter(1, config.prior_classes, tokens) if stages else None

    def forward(self, image: Tensor) -> Tensor:
        """Return logits for every voxel.

        Args:
            image: Normalised image, (B, 1, *patch_vox).

        Returns:
            (B, outputs, *patch_vox): background, each of `NETWORK_LEVELS`, body core, and,
            if the configuration says so, the offset to the centre of the vertebra's core.

        Raises:
            ValueError: If the image is not as large as the patch; the prior's grid is tied to it.
        """
        if tuple(image.shape[2:]) != self.config.patch_vox:
            raise ValueError(f"patch must be {self.config.patch_vox}, got {tuple(image.shape[2:])}")
        x = fold(image, self.config.stem_stride)  # (B, s^3, D, H, W)
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        prior = None if self.prior is None else self.prior.expand(x.shape[0], -1, -1)
        for k in reversed(range(len(self.decoder))):
            skip = skips[k]
            if str(k) in self.vsp:
                skip, prior = self.vsp[str(k)](skip, prior)
            x = torch.cat([self.up[k](x), skip], dim=1)  # (B, 2 C_k, D_k, H_k, W_k)
            x = self.decoder[k](x)
        change = None if self.detail is None else self.detail(image, x)
        with full_precision(x.device):  # logits of eight bits would blur every probability
            logits = unfold(self.head(x.float()), self.config.stem_stride)
        if change is None:
            return logits
        background, levels, others = logits.split((1, CORE - 1, logits.shape[1] - CORE), dim=1)
        return torch.cat([background + change[:, :1], levels, others + change[:, 1:]], dim=1)


def _stage(
    channels_in: int, channels_out: int, rvm_layers: int, down: bool, config: NetworkConfig
) -> nn.Sequential:
    """Return a residual block followed by its RVM layers."""
    layers: list[nn.Module] = [ResBlock(channels_in, channels_out, 2 if down else 1)]
    if config.rvm:
        layers += [RVM(channels_out, config) for _ in range(rvm_layers)]
    return nn.Sequential(*layers)


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
