"""Seconds per patch for each size of the network, by kind of layer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from spinemamba.benchmark.scans import threads
from spinemamba.network import rvm
from spinemamba.network.config import BASE, SIZES, NetworkConfig
from spinemamba.network.rvm import RVM
from spinemamba.network.unet import SpineMambaNet

_BASE_PATCH = (96, 96, 96)
"""Patch size for `base`: it fits into a process of a few gigabytes."""


@dataclass(frozen=True)
class NetworkRow:
    """Processor seconds of one network for one patch, one thread.

    Attributes:
        name: Name of the network; for `base` with the scan of its RVM layers.
        patch_vox: Patch size (z, y, x).
        total_s: Total.
        conv_s: Convolutions.
        scan_s: Selective scans.
        rest_of_rvm_s: The RVM layers without their scans.
        rest_s: Norms, activations, shape priors.
    """

    name: str
    patch_vox: tuple[int, int, int]
    total_s: float
    conv_s: float
    scan_s: float
    rest_of_rvm_s: float
    rest_s: float

    @property
    def rvm_share(self) -> float:
        """Share of the RVM layers, including scans."""
        return (self.scan_s + self.rest_of_rvm_s) / self.total_s


class Stopwatch:
    """Total time between pairs of `start` and `stop`."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self._started_s = 0.0

    def start(self, *_: object) -> None:
        """Start an interval; can be used as a hook of a module."""
        self._started_s = time.process_time()

    def stop(self, *_: object) -> None:
        """End an interval."""
        self.total_s += time.process_time() - self._started_s


def configurations(quick: bool) -> dict[str, NetworkConfig]:
    """Return the networks to measure; ``quick`` omits `base`, which takes a minute."""
    small = {name: config for name, config in SIZES.items() if config is not BASE}
    if quick:
        return small
    return small | {
        f"base, {scan}": replace(BASE, patch_vox=_BASE_PATCH, scan=scan)
        for scan in ("raster", "tri")
    }


def measure_networks(
    configs: dict[str, NetworkConfig], repeats: int, precision: torch.dtype = torch.float32
) -> Iterator[NetworkRow]:
    """Yield a row for each network, with random weights, the fastest of several runs."""
    half = precision != torch.float32
    with threads(1), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        for name, config in configs.items():
            network = SpineMambaNet(config).eval()
            patch = torch.randn(1, 1, *config.patch_vox)
            with torch.inference_mode():
                network(patch)  # the first run includes the allocation of memory
                rows = [_measure(name, network, patch) for _ in range(repeats)]
            yield min(rows, key=lambda row: row.total_s)


def _measure(name: str, network: nn.Module, patch: Tensor) -> NetworkRow:
    conv, layers, scan = Stopwatch(), Stopwatch(), Stopwatch()
    inside = {m for layer in network.modules() if isinstance(layer, RVM) for m in layer.modules()}
    hooks = []
    for module in network.modules():
        plain_conv = isinstance(module, nn.Conv3d | nn.ConvTranspose3d) and module not in inside
        watch = layers if isinstance(module, RVM) else conv if plain_conv else None
        if watch is not None:
            hooks += [module.register_forward_pre_hook(watch.start)]
            hooks += [module.register_forward_hook(watch.stop)]
    with _timed_scans(scan):
        started_s = time.process_time()
        network(patch)
        total_s = time.process_time() - started_s
    for hook in hooks:
        hook.remove()
    return NetworkRow(
        name=name,
        patch_vox=network.config.patch_vox,
        total_s=total_s,
        conv_s=conv.total_s,
        scan_s=scan.total_s,
        rest_of_rvm_s=layers.total_s - scan.total_s,
        rest_s=total_s - conv.total_s - layers.total_s,
    )


@contextmanager
def _timed_scans(watch: Stopwatch) -> Iterator[None]:
    """Measure every scan of the RVM layers while the block runs."""
    scan = rvm.selective_scan_3d

    def timed(*args: object) -> Tensor:
        watch.start()
        y = scan(*args)
        watch.stop()
        return y

    rvm.selective_scan_3d = timed
    try:
        yield
    finally:
        rvm.selective_scan_3d = scan
