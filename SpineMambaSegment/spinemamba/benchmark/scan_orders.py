"""Gain of scanning several orders in one call, of tied decay rates, and of threads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor

from spinemamba.benchmark.scans import (
    Size,
    least_seconds,
    scan_inputs,
    threads,
    tied_rates,
    working_backends,
)
from spinemamba.network.rvm import ORDERS
from spinemamba.selective_scan.dispatch import BACKENDS, NATIVE, selective_scan_3d
from spinemamba.selective_scan.grid import GridScan, scan_grid_by_copies
from spinemamba.selective_scan.orders import CROSS, Grid, Order

COMPARED = {
    "raster, reversed, slices last": ORDERS["tri"],
    "each axis fastest once": CROSS[::2],  # without the reversed orders
}
"""Sets of three orders to compare."""


@dataclass(frozen=True)
class Fusion:
    """Time of three orders in one call, and with the same kernel on copies.

    Attributes:
        orders: Key of `COMPARED`.
        fused_s: Processor seconds of one thread in one call.
        permuted_s: The same with copies of permuted and flipped views; an order equal to the memory
            order of the tokens is not copied.
        indexed_s: The same with copies by token indices, one list for each order.
    """

    orders: str
    fused_s: float
    permuted_s: float
    indexed_s: float

    @property
    def ratios(self) -> tuple[float, float]:
        """Time of both kinds of copies relative to one call."""
        return self.permuted_s / self.fused_s, self.indexed_s / self.fused_s


@dataclass(frozen=True, kw_only=True)
class IndexedOrder(Order):
    """An order that arranges tokens by index.

    Attributes:
        tokens: Token indices in the order of the scan, (L,).
    """

    tokens: Tensor

    def arrange(self, x: Tensor, grid: Grid) -> Tensor:
        """Return tokens (batch, L, ...) in the order of the scan."""
        return x[:, self.tokens]

    def restore(self, x: Tensor, grid: Grid) -> Tensor:
        """Return tokens in memory order, the inverse of `arrange`."""
        restored = torch.empty_like(x)
        restored[:, self.tokens] = x
        return restored


def indexed(order: Order, grid: Grid) -> IndexedOrder:
    """Return the same order of a grid as an `IndexedOrder`."""
    tokens = order.arrange(torch.arange(prod(grid))[None, :, None], grid).flatten()
    return IndexedOrder(order.axes, order.reverse, tokens=tokens)


def measure_fusion(side: int, channels: int, repeats: int) -> list[Fusion]:
    """Return the time of three scan orders in one call, and with copies.

    Args:
        side: Tokens along each axis of the grid.
        channels: Channels d; 16 states.
        repeats: Number of measurements of each.

    Returns:
        One for each of `COMPARED`, with the best C++ variant; empty without the native library.
    """
    native = [name for name in working_backends() if name.startswith(NATIVE)]
    if not native:
        return []
    grid, one = (side, side, side), BACKENDS[native[0]]
    scan = _grid_scan(side**3, channels, 16, 3)
    rows = []
    with torch.inference_mode(), threads(1):
        for name, orders in COMPARED.items():
            by_number = tuple(indexed(order, grid) for order in orders)
            forms = (
                partial(selective_scan_3d, scan, grid, orders, backend=native[0]),
                partial(scan_grid_by_copies, one, scan, grid, orders),
                partial(scan_grid_by_copies, one, scan, grid, by_number),
            )
            rows.append(Fusion(name, *(least_seconds(form, repeats) for form in forms)))
    return rows


def measure_tied(size: Size, repeats: int) -> dict[str, float]:
    """Return the gain of tied decay rates, see `NetworkConfig.tied_decay`.

    Returns:
        ``free_s`` and ``tied_s``, processor seconds of one thread with the best C++ variant, and
        ``ratio``; empty without the native library.
    """
    native = [name for name in working_backends() if name.startswith(NATIVE)]
    if not native:
        return {}
    scan, free = BACKENDS[native[0]], scan_inputs(size)
    tied = [*free[:2], tied_rates(size.states).repeat(size.channels, 1), *free[3:]]
    with torch.inference_mode(), threads(1):
        scan(*free)
        free_s = least_seconds(lambda: scan(*free), repeats)
        tied_s = least_seconds(lambda: scan(*tied), repeats)
    return {"free_s": free_s, "tied_s": tied_s, "ratio": free_s / tied_s}


def measure_threads(size: Size, repeats: int) -> dict[str, float]:
    """Return the times of the selected native variant with one and two threads.

    Returns:
        ``one_s``, ``two_s`` and ``ratio`` in wall-clock time, meaningful on an idle computer only;
        and ``work_ratio``, the total processor time of two threads divided by that of one, which
        shows the overhead also on a busy computer. Empty without the native library.
    """
    native = [name for name in working_backends() if name.startswith(NATIVE)]
    if not native:
        return {}
    inputs, scan = scan_inputs(size), BACKENDS[native[0]]
    wall, work = [], []
    with torch.inference_mode():
        for count in (1, 2):
            with threads(count):
                scan(*inputs)
                wall.append(least_seconds(lambda: scan(*inputs), repeats, time.perf_counter))
                work.append(least_seconds(lambda: scan(*inputs), repeats))
    ratios = {"ratio": wall[0] / wall[1], "work_ratio": work[1] / work[0]}
    return {"one_s": wall[0], "two_s": wall[1], **ratios}


def _grid_scan(tokens: int, d: int, n: int, orders: int) -> GridScan:
    rank, k = 4, orders
    normal = torch.randn
    return GridScan(
        u=normal(1, tokens, d),
        low_rank=normal(1, tokens, k, rank),
        A=tied_rates(n) * (1 + 0.1 * torch.rand(k, d, n)),
        B=normal(1, tokens, k, n),
        C=normal(1, tokens, k, n),
        D=normal(k, d),
        weight=normal(k, d, rank) / 2,
        bias=normal(k, d) - 4,
    )
