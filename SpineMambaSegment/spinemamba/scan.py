"""One door to the selective scan: the fastest back end that works here, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spinemamba.scan_chunked import scan_chunked
from spinemamba.scan_reference import scan_reference

Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def scan_mamba_ssm(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:  # noqa: N803
    """Run mamba-ssm's CUDA kernel; arguments and result as `scan_reference`."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    inputs = (x.float().transpose(1, 2).contiguous() for x in (u, delta, B, C))
    u_t, delta_t, b_t, c_t = inputs  # channels first, as the kernel wants it
    return selective_scan_fn(u_t, delta_t, A, b_t, c_t, D).transpose(1, 2).to(u.dtype)


BACKENDS: dict[str, Scan] = {
    "mamba-ssm": scan_mamba_ssm,
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
    name = backend or choose_backend(u.device.type)
    if name not in BACKENDS:
        raise ValueError(f"no scan back end '{name}'; there are {', '.join(BACKENDS)}")
    return BACKENDS[name](u, delta, A, B, C, D)


_PROBED: dict[str, str] = {}


def choose_backend(device: str) -> str:
    """Return the name of the fastest back end that works on a kind of device ("cpu", "cuda")."""
    if device not in _PROBED:
        works = available_backends(device)
        _PROBED[device] = next(name for name, state in works.items() if state == "ok")
    return _PROBED[device]


def available_backends(device: str = "cpu") -> dict[str, str]:
    """Return for each back end "ok", or why it does not work on a kind of device.

    Every back end is run on a few tokens and compared with the reference: that a package can be
    imported says nothing about its kernels.
    """
    return {name: _probe(name, device) for name in BACKENDS}


def _probe(name: str, device: str) -> str:
    if name == "mamba-ssm" and device != "cuda":
        return "needs an NVIDIA GPU"
    generator = torch.Generator().manual_seed(0)
    u, delta, b, c = (torch.rand(1, 5, k, generator=generator) for k in (4, 4, 8, 8))
    inputs = (u, delta, -torch.rand(4, 8, generator=generator), b, c, torch.ones(4))
    try:
        got = BACKENDS[name](*(x.to(device) for x in inputs)).cpu()
    # A foreign extension can fail in any way (import, driver, ABI); the reason is reported.
    except Exception as error:
        return str(error).strip().splitlines()[0] if str(error) else type(error).__name__
    off = float((got - scan_reference(*inputs)).abs().max())
    return "ok" if off < 1e-4 else f"differs from the reference by {off:.1e}"
