"""Scans of a 3-D grid in several orders: the network's one call, and its readable twin."""

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
    """What K scans of the same tokens take. L tokens, d channels, n states, r rank.

    Attributes:
        u: Signal, (batch, L, d), in raster order like all rows here.
        low: Low-rank factors of the steps, (batch, L, K, r).
        A: Decay rates, negative, (K, d, n).
        B: Input weights, (batch, L, K, n).
        C: Output weights, (batch, L, K, n).
        D: Weight of the signal itself, (K, d).
        weight: (K, d, r); the steps are softplus(weight low + bias).
        bias: (K, d).
    """

    u: Tensor
    low: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    weight: Tensor
    bias: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all of them, in this order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def with_tensors(self, *tensors: Tensor) -> GridScan:
        """Return the same scan of other tensors."""
        return replace(self, **dict(zip((f.name for f in fields(self)), tensors, strict=True)))


def scan_grid_by_copies(scan: Scan, s: GridScan, grid: Grid, orders: tuple[Order, ...]) -> Tensor:
    """Scan a grid by permuting its tokens: the readable twin of `scan_grid_native`.

    Args:
        scan: A scan of one sequence, such as `scan_reference`.
        s: What to scan.
        grid: (D, H, W), with D H W = L.
        orders: K orders.

    Returns:
        Sum of what the scans give, (batch, L, d).
    """

    def scanned(k: int, order: Order) -> Tensor:
        rows = (s.u, s.low[:, :, k], s.B[:, :, k], s.C[:, :, k])
        u, low, b, c = (order.arrange(x, grid) for x in rows)
        delta = functional.softplus(functional.linear(low, s.weight[k], s.bias[k]))
        return order.restore(scan(u, delta, s.A[k], b, c, s.D[k]), grid)

    return reduce(torch.add, (scanned(k, order) for k, order in enumerate(orders)))


def scan_grid_native(s: GridScan, grid: Grid, orders: tuple[Order, ...], variant: str) -> Tensor:
    """Scan a grid in place, in one call; arguments and result as `scan_grid_by_copies`."""
    walks = [number for order in orders for number in order.walk(grid)]
    tensors = (x.float() for x in s.tensors())
    return native_scan(*tensors, walks=walks, variant=variant).to(s.u.dtype)


def sequence_scan_native(variant: str) -> Scan:
    """Return the fused scan of one sequence, as `scan_reference`."""

    def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:  # noqa: N803
        none = torch.empty(0, device=u.device)
        of_one_order = (delta[:, :, None], A[None], B[:, :, None], C[:, :, None], D[None])
        tensors = (x.float() for x in (u, *of_one_order, none, none))
        walks = RASTER.walk((1, 1, u.shape[1]))
        return native_scan(*tensors, walks=walks, variant=variant).to(u.dtype)

    return scan
