"""Scans of a 3-D grid in several orders: in place, and with permuted copies for reference.

Symbols: L tokens, d channels, n states, K scan orders, r rank of the step sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.selective_scan.op import native_scan
from spinemamba.selective_scan.orders import RASTER, Grid, Order

Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class GridScan:
    """Inputs of K scans of the same tokens: L tokens, d channels, n states, rank r.

    Tokens are in raster order.

    Attributes:
        u: Input signal, (batch, L, d).
        low_rank: Low-rank input of the step sizes, (batch, L, K, r).
        A: Decay rates, negative, (K, d, n).
        B: Input weights, (batch, L, K, n).
        C: Output weights, (batch, L, K, n).
        D: Weight of the direct path, (K, d).
        weight: (K, d, r); the step sizes are softplus(weight low_rank + bias).
        bias: (K, d).
    """

    u: Tensor
    low_rank: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    weight: Tensor
    bias: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all tensors in the order of the attributes."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def with_tensors(self, *tensors: Tensor) -> GridScan:
        """Return a scan of other tensors, given in the order of the attributes."""
        return replace(self, **dict(zip((f.name for f in fields(self)), tensors, strict=True)))


def scan_grid_by_copies(scan: Scan, s: GridScan, grid: Grid, orders: tuple[Order, ...]) -> Tensor:
    """Scan a grid with permuted copies of its tokens, as a reference for `scan_grid_native`.

    Args:
        scan: Scan of one sequence, such as `scan_reference`.
        s: Inputs of the scans.
        grid: Size (D, H, W) of the grid, with D H W = L.
        orders: K scan orders.

    Returns:
        Sum of the outputs, (batch, L, d).
    """

    def scan_order(k: int, order: Order) -> Tensor:
        tokens = (s.u, s.low_rank[:, :, k], s.B[:, :, k], s.C[:, :, k])
        u, low_rank, b, c = (order.arrange(x, grid) for x in tokens)
        delta = functional.softplus(functional.linear(low_rank, s.weight[k], s.bias[k]))
        return order.restore(scan(u, delta, s.A[k], b, c, s.D[k]), grid)

    return reduce(torch.add, (scan_order(k, order) for k, order in enumerate(orders)))


def scan_grid_native(s: GridScan, grid: Grid, orders: tuple[Order, ...], variant: str) -> Tensor:
    """Scan a grid in place, in one call.

    Arguments and result as in `scan_grid_by_copies`; ``variant`` is an instruction set of
    `native_library.VARIANTS`, ignored on a CUDA device.
    """
    strides = [n for order in orders for n in order.strides(grid)]
    tensors = (x.float() for x in s.tensors())
    return native_scan(*tensors, strides=strides, variant=variant).to(s.u.dtype)


def sequence_scan_native(variant: str) -> Scan:
    """Return a function like `scan_reference` that runs the fused scan."""

    def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:  # noqa: N803
        empty = torch.empty(0, device=u.device)
        one_order = (delta[:, :, None], A[None], B[:, :, None], C[:, :, None], D[None])
        tensors = (x.float() for x in (u, *one_order, empty, empty))
        strides = RASTER.strides((1, 1, u.shape[1]))
        return native_scan(*tensors, strides=strides, variant=variant).to(u.dtype)

    return scan
