"""The fused convolution and gate of the C++ library."""

from __future__ import annotations

import pytest
import torch
from fused_comparison import SHAPES, assert_as_accurate_as_torch, convolutions, gates, rows
from scan_inputs import each_variant, needs_library, one_thread  # noqa: F401

from spinemamba.selective_scan import fused
from spinemamba.selective_scan.dispatch import NATIVE, forced_backend


@pytest.fixture
def native(variant: str):
    """Use a variant of the library."""
    with forced_backend("cpu", NATIVE + variant):
        yield


@each_variant
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_fused_convolution_is_as_accurate_as_torch(native, shape: tuple[int, ...]):
    assert_as_accurate_as_torch(*convolutions(shape))


@each_variant
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_fused_gate_is_as_accurate_as_torch(native, shape: tuple[int, ...]):
    assert_as_accurate_as_torch(*gates(shape))


@each_variant
def test_the_number_of_threads_does_not_change_a_bit_of_fused_operations(native):
    x, weight, bias = rows(2, 23, 40), torch.randn(40, 4), torch.randn(40)
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        with torch.no_grad():
            results.append((fused.convolve(x, weight, bias), fused.gate(x, x)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@needs_library
def test_operations_that_require_gradients_run_in_torch():
    x, weight = rows(1, 9, 5).requires_grad_(), torch.randn(5, 4, requires_grad=True)
    y = fused.gate(fused.convolve(x, weight, torch.zeros(5)), x)
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(y.sum(), (x, weight)))
