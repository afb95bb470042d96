from __future__ import annotations

import pytest
import torch
from scan_exactness import FLOOR, LOOP_ERRORS, relative_errors
from test_scan_native import each_variant, needs_library, one_thread  # noqa: F401
from torch.nn import functional

from spinemamba.selective_scan import dispatch, fused
from spinemamba.selective_scan.dispatch import NATIVE

SHAPES = [(1, 1, 3), (2, 50, 20), (1, 7, 130)]


def rows(*shape: int) -> torch.Tensor:
    """Return rows that lie apart, as halves of wider ones do, with values up to 30."""
    generator = torch.Generator().manual_seed(shape[1])
    wide = torch.randn(*shape[:2], 2 * shape[2], generator=generator) * 8
    return wide.chunk(2, dim=-1)[1]


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch, variant: str):
    """Let a variant of the library do the work."""
    monkeypatch.setitem(dispatch._PROBED, "cpu", NATIVE + variant)


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


@each_variant
@pytest.mark.parametrize("shape", SHAPES)
def test_a_convolution_in_one_pass_is_that_of_torch(native, shape: tuple[int, ...]):
    assert_as_exact_as_torch(*convolutions(shape))


@each_variant
@pytest.mark.parametrize("shape", SHAPES)
def test_a_gate_in_one_pass_is_that_of_torch(native, shape: tuple[int, ...]):
    assert_as_exact_as_torch(*gates(shape))


@each_variant
def test_the_number_of_threads_changes_no_bit_of_a_pass(native):
    x, weight, bias = rows(2, 23, 40), torch.randn(40, 4), torch.randn(40)
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        with torch.no_grad():
            results.append((fused.convolve(x, weight, bias), fused.gate(x, x)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@needs_library
def test_torch_does_a_pass_where_gradients_are_wanted():
    x, weight = rows(1, 9, 5).requires_grad_(), torch.randn(5, 4, requires_grad=True)
    y = fused.gate(fused.convolve(x, weight, torch.zeros(5)), x)
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(y.sum(), (x, weight)))
