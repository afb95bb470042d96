"""MONAI's DynUNet, nnU-Net's network, with the outputs of this package: for comparison."""

from __future__ import annotations

from torch import Tensor, nn

from spinemamba.common.errors import Code, UserError
from spinemamba.network.config import NetworkConfig

_FILTERS = (16, 32, 64, 128, 160)
"""Filters per stage: 4.2 million parameters, as many as the starter model."""


class DynUNetNet(nn.Module):
    """MONAI's re-implementation of nnU-Net's residual network, with the same outputs.

    Args:
        config: Patch size and outputs; the other attributes are not used.

    Raises:
        UserError: If MONAI is not installed (DEPENDENCY_MISSING).
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.network = _dynunet(config.outputs)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 1, *patch_vox) to logits (B, outputs, *patch_vox)."""
        return self.network(image)


def _dynunet(outputs: int) -> nn.Module:
    try:
        from monai.networks.nets import DynUNet
    except ImportError as error:
        raise UserError(
            "DynUNet needs MONAI, which is not installed.",
            "Install it with: pip install 'spinemamba[evaluation]'",
            Code.DEPENDENCY_MISSING,
        ) from error
    stages = len(_FILTERS)
    return DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=outputs,
        kernel_size=[3] * stages,
        strides=[1] + [2] * (stages - 1),
        upsample_kernel_size=[2] * (stages - 1),
        filters=_FILTERS,
        res_block=True,
    )
