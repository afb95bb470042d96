"""Inputs and error bounds of the fused convolution and gate."""

from __future__ import annotations

import torch
from scan_accuracy import MIN_ERROR, REFERENCE_ERRORS, relative_errors
from scan_inputs import each_variant, needs_library, one_thread  # noqa: F401
from torch.nn import functional

from spinemamba.selective_scan import fused

SHAPES = [(1, 1, 3), (2, 50, 20), (1, 7, 130)]


def rows(*shape: int) -> torch.Tensor:
    """Return rows with gaps in memory, halves of wider rows, with values up to 30."""
    generator = torch.Generator().manual_seed(shape[1])
    wide = torch.randn(*shape[:2], 2 * shape[2], generator=generator) * 8
    return wide.chunk(2, dim=-1)[1]


def assert_as_accurate_as_torch(y: torch.Tensor, plain: torch.Tensor, exact: torch.Tensor) -> None:
    """Check a fused operation with the bound of the scan; see `scan_accuracy`."""
    error, plain_error = relative_errors([y, plain], [exact, exact])
    assert error <= REFERENCE_ERRORS * plain_error + MIN_ERROR


def convolutions(shape: tuple[int, ...]) -> list[torch.Tensor]:
    """Return a convolution of the fused operation, of torch, and in double precision."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape[2], 4, generator=generator)
    x, bias = rows(*shape), torch.randn(shape[2], generator=generator)
    padded = functional.pad(x.double().transpose(1, 2), (3, 0))
    exact = functional.conv1d(padded, weight.double()[:, None], bias.double(), groups=shape[2])
    with torch.no_grad():
        y = fused.convolve(x, weight, bias)
        plain = fused.convolve_in_torch(x, weight, bias)
    return [y, plain, functional.silu(exact.transpose(1, 2))]


def gates(shape: tuple[int, ...]) -> list[torch.Tensor]:
    """Return a gate of the fused operation, of torch, and in double precision."""
    x, z = rows(*shape).flip(1), rows(*shape)
    with torch.no_grad():
        y = fused.gate(x, z)
    return [y, x * functional.silu(z), x.double() * functional.silu(z.double())]
