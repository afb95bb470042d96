"""Inputs of the selective scan, and variants of the C++ library for this processor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from spinemamba.selective_scan.dispatch import selective_scan_3d
from spinemamba.selective_scan.grid import GridScan
from spinemamba.selective_scan.native_library import VARIANTS, Library, NativeError, library
from spinemamba.selective_scan.orders import RASTER, REVERSED, SLICES_LAST


def inputs(batch=1, length=64, d=6, n=5, dtype=torch.float32, largest_step=None):
    """Return random u, delta, A, B, C and D, all of which require gradients."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    delta = torch.nn.functional.softplus(normal(batch, length, d))
    if largest_step is not None:
        delta = delta * (largest_step / delta.max())
    a = -torch.rand(d, n, generator=generator, dtype=dtype) * 16 - 0.1
    parts = (normal(batch, length, d), delta, a, normal(batch, length, n))
    return [x.requires_grad_() for x in (*parts, normal(batch, length, n), normal(d))]


ORDERS = (RASTER, REVERSED, SLICES_LAST)


@pytest.fixture(autouse=True)
def one_thread():
    """Use one thread: tests are too small to gain from more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def variants() -> list[str]:
    """Return the variants of the library that run on this processor."""
    try:
        native = library()
    except NativeError:
        return []
    return [v for v in VARIANTS if _runs(native, v)]


def _runs(native: Library, variant: str) -> bool:
    try:
        native.check(variant)
    except NativeError:
        return False
    return True


HERE = variants()


needs_library = pytest.mark.skipif(
    not HERE, reason="the C++ library is not built: needs a compiler and `pip install`"
)


each_variant = pytest.mark.parametrize(
    "variant",
    HERE or [pytest.param("none", marks=pytest.mark.skip("the C++ library is not built"))],
)


def grid_scan(grid: tuple[int, ...], d: int = 40, n: int = 8, batch: int = 2) -> GridScan:
    """Return random input for three orders, with steps from 1e-3 to 16."""
    generator = torch.Generator().manual_seed(d)
    length, k, r = grid[0] * grid[1] * grid[2], len(ORDERS), 3

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    tensors = (
        normal(batch, length, d),
        normal(batch, length, k, r) * 3,
        -(torch.rand(k, d, n, generator=generator) ** 4) * 16
        - 1e-3,  # from immediate to slow decay
        normal(batch, length, k, n),
        normal(batch, length, k, n),
        normal(k, d),
        normal(k, d, r),
        normal(k, d) - 3,
    )
    return GridScan(*(x.requires_grad_() for x in tensors))


def in_orders(s: GridScan, grid: tuple[int, ...], name: str) -> Callable[..., torch.Tensor]:
    """Return a function of the tensors of a scan that runs a back end in three orders."""
    return lambda *tensors: selective_scan_3d(s.with_tensors(*tensors), grid, ORDERS, backend=name)
