"""The network: residual CNN and RVM encoder, shape priors on skip connections, decoder."""

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
from spinemamba.network.rvm import RVM
from spinemamba.network.vsp import VSP


class SpineMambaNet(nn.Module):
    """U-shaped CNN and Mamba hybrid.

    Args:
        config: Architecture.
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
        self.detail = _Detail(config) if config.detail_channels else None
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
            (B, outputs, *patch_vox): background, each of `NETWORK_LEVELS`, body core, and, if
            configured, the offset to the centre of the vertebra's core along z, y, x.

        Raises:
            ValueError: If the image does not have the size of the patch, on which the grid of the
                shape prior depends.
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
        correction = None if self.detail is None else self.detail(image, x)
        with full_precision(x.device):  # bfloat16 logits would make probabilities imprecise
            logits = unfold(self.head(x.float()), self.config.stem_stride)
        if correction is None:
            return logits
        background, levels, others = logits.split((1, CORE - 1, logits.shape[1] - CORE), dim=1)
        return torch.cat(
            [background + correction[:, :1], levels, others + correction[:, 1:]], dim=1
        )


class _Detail(nn.Module):
    """Stage at full resolution that corrects logits of a network that works at half resolution.

    This is not part of the paper. A stem that folds 2x2x2 voxels into channels makes the network
    six times faster on a CPU, but reduces the surface of bone to one linear map of a few features.
    Two convolutions with few channels on features and image recover it for a quarter of the cost.
    The corrections are zero before training.
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        width = config.detail_channels
        self.stride = config.stem_stride
        # The first of the `width` channels is the image.
        self.reduce = Conv3d(config.channels[0], (width - 1) * self.stride**3, 1)
        self.convs = nn.Sequential(
            Conv3d(width, width, 3, padding=1, bias=False),
            nn.InstanceNorm3d(width, affine=True),
            nn.LeakyReLU(0.01),
            Conv3d(width, width, 3, padding=1),
            nn.LeakyReLU(0.01),
        )
        self.head = Conv3d(width, 1 + config.outputs - CORE, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        """Return corrections to the background, core and offset logits.

        Args:
            image: (B, 1, *patch_vox).
            features: Last stage of the decoder, (B, C0, *patch_vox / stem_stride).

        Returns:
            (B, 1 + outputs - CORE, *patch_vox).
        """
        upsampled = unfold(self.reduce(features), self.stride)  # (B, width - 1, *patch_vox)
        y = self.convs(torch.cat([image.to(upsampled.dtype), upsampled], dim=1))
        with full_precision(image.device):
            return self.head(y.float())


def _stage(
    channels_in: int, channels_out: int, rvm_layers: int, down: bool, config: NetworkConfig
) -> nn.Sequential:
    """Return a residual block followed by its RVM layers."""
    layers: list[nn.Module] = [ResBlock(channels_in, channels_out, 2 if down else 1)]
    if config.rvm:
        layers += [RVM(channels_out, config) for _ in range(rvm_layers)]
    return nn.Sequential(*layers)


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
