"""Networks for comparison, trained by the same command on the same patches."""

from __future__ import annotations

from dataclasses import replace

from spinemamba.network.build import VoxelNetwork, network_of
from spinemamba.network.config import NetworkConfig
from spinemamba.training.architectures import SWITCHES


def build_network(config: NetworkConfig, kind: str) -> VoxelNetwork:
    """Return an untrained network, initialised with torch's random generator.

    Args:
        config: Configuration of the network.
        kind: One of `architectures.KINDS`.

    Raises:
        UserError: If the kind needs a package that is not installed (DEPENDENCY_MISSING).
    """
    return network_of(replace(config, **SWITCHES[kind]))
