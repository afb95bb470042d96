"""Build a network from its configuration."""

from __future__ import annotations

from spinemamba.network.config import NetworkConfig
from spinemamba.network.dynunet import DynUNetNet
from spinemamba.network.unet import SpineMambaNet

VoxelNetwork = SpineMambaNet | DynUNetNet
"""A network that maps images to the outputs of `NetworkConfig`."""


def network_of(config: NetworkConfig) -> VoxelNetwork:
    """Return an untrained network, initialised with torch's random generator.

    Raises:
        UserError: If it needs a package that is not installed (DEPENDENCY_MISSING).
    """
    if config.architecture == "dynunet":
        return DynUNetNet(config)
    return SpineMambaNet(config)
