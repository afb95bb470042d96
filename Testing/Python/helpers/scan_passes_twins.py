"""Inputs and comparisons of the fused operations beside the scan."""

from __future__ import annotations

import torch
from scan_exactness import FLOOR, LOOP_ERRORS, relative_errors
from scan_inputs import each_variant, needs_library, one_thread  # noqa: F401
from torch.nn import functional

from spinemamba.selective_scan import fused

SHAPES = [(1, 1, 3), (2, 50, 20), (1, 7, 130)]


def rows(*shape: int) -> torch.Tensor:
    """Return rows that lie apart, as halves of wider ones do, with values up to 30."""
    generator = torch.Generator().manual_seed(shape[1])
    wide = torch.randn(*shape[:2], 2 * shape[2], generator=generator) * 8
    return wide.chunk(2, dim=-1)[1]


def assert_as_exact_as_torch(found: torch.Tensor, twin: torch.Tensor, exact: torch.Tensor) -> None:
    """The bound is that of the scan, see `scan_exactness`."""
    off, usual = relative_errors([found, twin], [exact, exact])
    assert off <= LOOP_ERRORS * usual + FLOOR


def convolutions(shape: tuple[int, ...]) -> list[torch.Tensor]:
    """Return what one pass gives, what torch gives, and what is exact."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape[2], 4, generator=generator)
    x, bias = rows(*shape), torch.randn(shape[2], generator=generator)
    padded = functional.pad(x.double().transpose(1, 2), (3, 0))
    exact = functional.conv1d(padded, weight.double()[:, None], bias.double(), groups=shape[2])
    with torch.no_grad():
        found = fused.convolve(x, weight, bias)
        twin = fused.convolve_in_torch(x, weight, bias)
    return [found, twin, functional.silu(exact.transpose(1, 2))]


def gates(shape: tuple[int, ...]) -> list[torch.Tensor]:
    """Return the same of a gate."""
    x, z = rows(*shape).flip(1), rows(*shape)
    with torch.no_grad():
        found = fused.gate(x, z)
    return [found, x * functional.silu(z), x.double() * functional.silu(z.double())]
