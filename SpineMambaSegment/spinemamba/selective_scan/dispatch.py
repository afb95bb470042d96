"""Selection of the scan back end: the fastest one that works and agrees with the reference.

Symbols: L tokens, d channels, n states, K scan orders, r rank of the step sizes. u, delta, A, B, C
and D are explained in `reference`.
"""

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
"""Environment variable with the name of the back end to use."""


def _scan_mamba_ssm(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:  # noqa: N803
    """Run the CUDA kernel of mamba-ssm; arguments and result as in `scan_reference`."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    inputs = (x.float().transpose(1, 2).contiguous() for x in (u, delta, B, C))
    u_t, delta_t, b_t, c_t = inputs  # the kernel expects channels first
    return selective_scan_fn(u_t, delta_t, A, b_t, c_t, D).transpose(1, 2).to(u.dtype)


BACKENDS: dict[str, Scan] = {
    "mamba-ssm": _scan_mamba_ssm,
    NVRTC: sequence_scan_native(NVRTC),
    **{NATIVE + variant: sequence_scan_native(variant) for variant in VARIANTS},
    "torch-chunked": scan_chunked,
    "reference": scan_reference,
}
"""All back ends, fastest first."""


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
    """Run the selective scan of one sequence; see `scan_reference` for the symbols.

    Args:
        u: Input signal, (batch, L, d).
        delta: Step sizes, positive, (batch, L, d).
        A: Decay rates, negative, (d, n).
        B: Input weights, (batch, L, n).
        C: Output weights, (batch, L, n).
        D: Weight of the direct path, (d,).
        backend: Name in `BACKENDS`; None selects `choose_backend` for the device of ``u``.

    Returns:
        Output y, (batch, L, d), in the precision of ``u``.

    Raises:
        ValueError: If ``backend`` is unknown.
    """
    return BACKENDS[_checked(backend or choose_backend(u.device.type))](u, delta, A, B, C, D)


def selective_scan_3d(
    scan: GridScan, grid: Grid, orders: tuple[Order, ...], *, backend: str | None = None
) -> Tensor:
    """Scan the tokens of a 3-D grid in several orders and return the sum of the outputs.

    Args:
        scan: Inputs of the scans.
        grid: Size (D, H, W) of the grid.
        orders: K scan orders.
        backend: As in `selective_scan`. The C++ library and the CUDA kernels access the tokens in
            place with strides; all other back ends scan permuted copies.

    Returns:
        Output y, (batch, L, d), in the precision of ``scan.u``.

    Raises:
        ValueError: If ``backend`` is unknown.
    """
    name = _checked(backend or choose_backend(scan.u.device.type))
    if name == NVRTC or name.startswith(NATIVE):
        return scan_grid_native(scan, grid, orders, name.removeprefix(NATIVE))
    return scan_grid_by_copies(BACKENDS[name], scan, grid, orders)


def _checked(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"unknown scan back end '{name}'; choose among {', '.join(BACKENDS)}")
    return name


_SELECTED: dict[tuple[str, str | None], str] = {}
"""Selected back end of each kind of device and value of `FORCE`."""

_FORCED: dict[str, str] = {}
"""Back end of each kind of device within `forced_backend`."""


def choose_backend(device: str) -> str:
    """Return the name of the fastest back end that works on a kind of device ("cpu", "cuda").

    The result is cached per kind of device and value of the environment variable.

    Raises:
        UserError: If no back end works, or the one named by the environment variable
            SPINEMAMBA_SCAN does not (DEPENDENCY_MISSING).
    """
    if device in _FORCED:
        return _FORCED[device]
    key = device, os.environ.get(FORCE)
    if key not in _SELECTED:
        _SELECTED[key] = _choose(*key)
    return _SELECTED[key]


@contextmanager
def forced_backend(device: str, name: str) -> Iterator[None]:
    """Use a back end on a kind of device within a ``with`` block, for benchmarks and tests."""
    before = dict(_FORCED)
    _FORCED[device] = _checked(name)
    try:
        yield
    finally:
        _FORCED.clear()
        _FORCED.update(before)


def _choose(device: str, forced: str | None) -> str:
    if device == "meta":  # shapes only: the scan just has to be one operator
        return NATIVE + VARIANTS[0]
    if not forced:
        working = next((name for name in BACKENDS if _probe(name, device) == "ok"), None)
        if working is None:
            raise UserError(
                f"No scan back end works on the device '{device}'.",
                f"Choose the device 'cpu', or set {FORCE}=torch-chunked to use that one.",
                Code.DEPENDENCY_MISSING,
            )
        return working
    state = _probe(forced, device) if forced in BACKENDS else "unknown back end"
    if state != "ok":
        remedy = f"Unset the variable, or choose among {', '.join(BACKENDS)}."
        message = f"{FORCE}={forced} cannot be used: {state}."
        raise UserError(message, remedy, Code.DEPENDENCY_MISSING)
    return forced


def describe_backend(device: str) -> str:
    """Return the name of the selected back end, and why it is not the C++ library on a CPU."""
    name = choose_backend(device)
    if device == "mps":
        return f"{name} (never tested on an Apple GPU)"
    if device != "cpu" or name.startswith(NATIVE):
        return name
    if os.environ.get(FORCE):
        return f"{name} (set by {FORCE})"
    reasons = {v: _probe(NATIVE + v, device) for v in VARIANTS}
    return f"{name} (native: {'; '.join(dict.fromkeys(reasons.values()))})"


def available_backends(device: str = "cpu") -> dict[str, str]:
    """Return "ok" or the reason of failure for each back end on a kind of device.

    Each back end is run on a few tokens, and its values and gradients are compared with the
    reference, because a package that can be imported may still have broken kernels.
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
        error = _relative_error(name, device)
    except NativeError as failure:
        return str(failure)
    # Extensions of others can fail in any way (import, driver, ABI). The reason is reported.
    except Exception as failure:
        return str(failure).strip().splitlines()[0] if str(failure) else type(failure).__name__
    return "ok" if error < 1e-4 else f"differs from the reference by {error:.1e}"


_SMALL_GRID = (2, 7, 10)
"""Grid of the comparison with the reference."""


def _relative_error(name: str, device: str) -> float:
    """Return the largest error of any output, relative to the largest value of that output."""
    pairs = zip(_reference_outputs(), _outputs(name, device), strict=True)
    errors = torch.stack([(fast - slow).abs().max() / slow.abs().max() for slow, fast in pairs])
    return float(errors.max())  # NaN if any error is NaN


@cache
def _reference_outputs() -> list[Tensor]:
    return _outputs("reference", "cpu")


def _outputs(name: str, device: str) -> list[Tensor]:
    """Return the outputs of a back end: values with gradients on and off, then all gradients.

    The sizes reach every branch of the fast paths: channels and states that do not fill a vector,
    several chunks of every length, every kind of order, and step sizes from tiny to 16.
    """
    orders = (RASTER, REVERSED, SLICES_LAST)
    # The caller may be in any mode and have any default device.
    with torch.inference_mode(False), torch.enable_grad(), torch.device("cpu"):
        scan = _small_scan(20, 29, 2, len(orders))
        inputs = [x.to(device).requires_grad_() for x in scan.tensors()]
        y = selective_scan_3d(scan.with_tensors(*inputs), _SMALL_GRID, orders, backend=name)
        weight = torch.linspace(-1, 1, y.numel(), device=device).view_as(y)
        grads = torch.autograd.grad((y * weight).sum(), inputs)
        # Fast paths may take another branch if no gradients are required.
        detached = scan.with_tensors(*(x.detach() for x in inputs))
        y_no_grad = selective_scan_3d(detached, _SMALL_GRID, orders, backend=name)
        return [x.detach().cpu() for x in (y, y_no_grad, *grads)]


def _small_scan(d: int, n: int, r: int, orders: int) -> GridScan:
    """Return random inputs with d channels, n states and rank r."""
    generator = torch.Generator().manual_seed(0)
    normal = partial(torch.randn, generator=generator)
    tokens, k = prod(_SMALL_GRID), orders
    # Some states decay within a token, some last longer than any chunk.
    rates = -(torch.rand(k, d, n, generator=generator) ** 4) * n - 1e-3
    rates[1] = rates[1, :, :1] * torch.arange(1, n + 1)  # tied rates take another branch
    return GridScan(
        u=normal(1, tokens, d),
        low_rank=normal(1, tokens, k, r) * 4,
        A=rates,
        B=normal(1, tokens, k, n),
        C=normal(1, tokens, k, n),
        D=normal(k, d),
        weight=normal(k, d, r),
        bias=normal(k, d),
    )
