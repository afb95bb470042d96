"""One door to the selective scan: the fastest back end that works here, by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from math import prod

import torch
from torch import Tensor

from spinemamba.common.errors import Code, UserError
from spinemamba.selective_scan.chunked import scan_chunked
from spinemamba.selective_scan.grid import (
    GridScan,
    Scan,
    scan_grid_by_copies,
    scan_grid_native,
    sequence_scan_native,
)
from spinemamba.selective_scan.native_library import VARIANTS, NativeError, library
from spinemamba.selective_scan.orders import RASTER, REVERSED, SLICES_LAST, Grid, Order
from spinemamba.selective_scan.reference import scan_reference

NATIVE, NVRTC = "native-", "nvrtc"
FORCE = "SPINEMAMBA_SCAN"
"""Environment variable that names the back end to use."""


def scan_mamba_ssm(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:  # noqa: N803
    """Run mamba-ssm's CUDA kernel; arguments and result as `scan_reference`."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    inputs = (x.float().transpose(1, 2).contiguous() for x in (u, delta, B, C))
    u_t, delta_t, b_t, c_t = inputs  # channels first, as the kernel wants it
    return selective_scan_fn(u_t, delta_t, A, b_t, c_t, D).transpose(1, 2).to(u.dtype)


BACKENDS: dict[str, Scan] = {
    "mamba-ssm": scan_mamba_ssm,
    NVRTC: sequence_scan_native(NVRTC),
    **{NATIVE + variant: sequence_scan_native(variant) for variant in VARIANTS},
    "torch-chunked": scan_chunked,
    "reference": scan_reference,
}
"""Every back end, fastest first."""


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,  # noqa: N803
    B: Tensor,  # noqa: N803
    C: Tensor,  # noqa: N803
    D: Tensor,  # noqa: N803
    *,
    backend: str | None = None,
) -> Tensor:
    """Run the selective scan; tensors as in `scan_reference`.

    Args:
        u: (batch, L, d).
        delta: (batch, L, d), positive.
        A: (d, n), negative.
        B: (batch, L, n).
        C: (batch, L, n).
        D: (d,).
        backend: A name in `BACKENDS`; None takes `choose_backend` for the device of ``u``.

    Returns:
        y, (batch, L, d), in the precision of ``u``.

    Raises:
        ValueError: If there is no such back end.
    """
    return BACKENDS[_known(backend or choose_backend(u.device.type))](u, delta, A, B, C, D)


def selective_scan_3d(
    scan: GridScan, grid: Grid, orders: tuple[Order, ...], *, backend: str | None = None
) -> Tensor:
    """Scan the tokens of a grid in several orders and add up what the scans give.

    Args:
        scan: What to scan.
        grid: (D, H, W).
        orders: K orders.
        backend: As in `selective_scan`. The C++ library and its twin for CUDA walk all orders in
            place; all others scan permuted copies.

    Returns:
        y, (batch, L, d), in the precision of ``scan.u``.

    Raises:
        ValueError: If there is no such back end.
    """
    name = _known(backend or choose_backend(scan.u.device.type))
    if name == NVRTC or name.startswith(NATIVE):
        return scan_grid_native(scan, grid, orders, name.removeprefix(NATIVE))
    return scan_grid_by_copies(BACKENDS[name], scan, grid, orders)


def _known(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"no scan back end '{name}'; there are {', '.join(BACKENDS)}")
    return name


_PROBED: dict[str, str] = {}


def choose_backend(device: str) -> str:
    """Return the name of the fastest back end that works on a kind of device ("cpu", "cuda").

    Raises:
        UserError: If none does, or the environment variable SPINEMAMBA_SCAN names one that
            does not.
    """
    if device not in _PROBED:
        _PROBED[device] = _choose(device, os.environ.get(FORCE))
    return _PROBED[device]


@contextmanager
def forced_backend(device: str, name: str) -> Iterator[None]:
    """Use a back end on a kind of device for a while, for measurements and tests."""
    before = choose_backend(device)
    _PROBED[device] = _known(name)
    try:
        yield
    finally:
        _PROBED[device] = before


def _choose(device: str, forced: str | None) -> str:
    if device == "meta":  # nothing is computed there: what counts is that a scan is one operator
        return NATIVE + VARIANTS[0]
    if not forced:
        found = next((name for name in BACKENDS if _probe(name, device) == "ok"), None)
        if found is None:
            raise UserError(
                f"No selective scan works on the device '{device}'.",
                f"Choose the device 'cpu', or set {FORCE}=torch-chunked to try no other.",
                Code.DEPENDENCY_MISSING,
            )
        return found
    state = _probe(forced, device) if forced in BACKENDS else "there is no such scan"
    if state != "ok":
        remedy = f"Unset it, or choose among {', '.join(BACKENDS)}."
        message = f"{FORCE}={forced} cannot be used: {state}."
        raise UserError(message, remedy, Code.DEPENDENCY_MISSING)
    return forced


def describe_backend(device: str) -> str:
    """Return the name of the back end in use; on a CPU without the C++ library also why."""
    name = choose_backend(device)
    if device == "mps":
        return f"{name} (never tested on an Apple GPU)"
    if device != "cpu" or name.startswith(NATIVE):
        return name
    if os.environ.get(FORCE):
        return f"{name} ({FORCE} asks for it)"
    reasons = {v: _probe(NATIVE + v, device) for v in VARIANTS}
    return f"{name} (native: {'; '.join(dict.fromkeys(reasons.values()))})"


def available_backends(device: str = "cpu") -> dict[str, str]:
    """Return for each back end "ok", or why it does not work on a kind of device.

    Every back end is run on a few tokens and compared with the reference, values and gradients:
    that a package can be imported says nothing about its kernels.
    """
    return {name: _probe(name, device) for name in BACKENDS}


def _probe(name: str, device: str) -> str:
    if name in ("mamba-ssm", NVRTC) and device != "cuda":
        return "needs an NVIDIA GPU"
    if name.startswith(NATIVE) and device != "cpu":
        return "runs on the CPU only"
    try:
        if name.startswith(NATIVE):
            library().check(name.removeprefix(NATIVE))
        off = _deviation(name, device)
    except NativeError as error:
        return str(error)
    # A foreign extension can fail in any way (import, driver, ABI); the reason is reported.
    except Exception as error:
        return str(error).strip().splitlines()[0] if str(error) else type(error).__name__
    return "ok" if off < 1e-4 else f"differs from the reference by {off:.1e}"


SMALL_GRID = (2, 7, 10)
"""What a trial scans."""


def _deviation(name: str, device: str) -> float:
    """Return how far a back end is off, relative to the largest number of its kind."""
    pairs = zip(_truth(), _trial(name, device), strict=True)
    offs = torch.stack([(fast - slow).abs().max() / slow.abs().max() for slow, fast in pairs])
    return float(offs.max())  # NaN if any is


@cache
def _truth() -> list[Tensor]:
    return _trial("reference", "cpu")


def _trial(name: str, device: str) -> list[Tensor]:
    """Return what a back end gives: values, the same without gradients wanted, and gradients.

    The sizes reach every branch of the fast paths: channels and states that fill no vector, tokens
    beyond several chunks of every length, every kind of order, steps from tiny to 16.
    """
    orders = (RASTER, REVERSED, SLICES_LAST)
    # Whoever asks may be in any mode and have any default device.
    with torch.inference_mode(False), torch.enable_grad(), torch.device("cpu"):
        scan = _small_scan(20, 29, 2, len(orders))
        inputs = [x.to(device).requires_grad_() for x in scan.tensors()]
        y = selective_scan_3d(scan.with_tensors(*inputs), SMALL_GRID, orders, backend=name)
        weight = torch.linspace(-1, 1, y.numel(), device=device).view_as(y)
        grads = torch.autograd.grad((y * weight).sum(), inputs)
        # Without gradients a fast path may go another way.
        plain = scan.with_tensors(*(x.detach() for x in inputs))
        alone = selective_scan_3d(plain, SMALL_GRID, orders, backend=name)
        return [x.detach().cpu() for x in (y, alone, *grads)]


def _small_scan(d: int, n: int, r: int, orders: int) -> GridScan:
    generator = torch.Generator().manual_seed(0)
    normal = partial(torch.randn, generator=generator)
    tokens, k = prod(SMALL_GRID), orders
    # Some states fade within a token, some outlast every chunk.
    rates = -(torch.rand(k, d, n, generator=generator) ** 4) * n - 1e-3
    rates[1] = rates[1, :, :1] * torch.arange(1, n + 1)  # tied ones, which have a path of their own
    return GridScan(
        u=normal(1, tokens, d),
        low=normal(1, tokens, k, r) * 4,
        A=rates,
        B=normal(1, tokens, k, n),
        C=normal(1, tokens, k, n),
        D=normal(k, d),
        weight=normal(k, d, r),
        bias=normal(k, d),
    )
