"""The reference scan, the chunked scan, and the selection of a back end."""

from __future__ import annotations

import math

import pytest
import torch
from scan_accuracy import CASES, Case, assert_as_accurate_as_reference
from scan_inputs import inputs

from spinemamba.benchmark.scans import LargestTensor
from spinemamba.selective_scan import dispatch
from spinemamba.selective_scan.chunked import scan_chunked
from spinemamba.selective_scan.dispatch import (
    BACKENDS,
    available_backends,
    choose_backend,
    selective_scan,
)
from spinemamba.selective_scan.reference import scan_reference


def test_two_tokens_have_the_output_calculated_by_hand():
    u, delta = torch.tensor([[[2.0], [3.0]]]), torch.tensor([[[1.0], [0.5]]])
    a, d = torch.tensor([[-math.log(4.0)]]), torch.tensor([10.0])
    b, c = torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[5.0], [7.0]]])
    # h1 = 1 * 2 * 1 = 2, y1 = 5 * 2 + 10 * 2; h2 = h1 / 2 + 0.5 * 3 * 2 = 4, y2 = 7 * 4 + 10 * 3
    for function in (scan_reference, scan_chunked):
        torch.testing.assert_close(function(u, delta, a, b, c, d), torch.tensor([[[30.0], [58.0]]]))


def test_the_reference_has_the_right_gradients():
    assert torch.autograd.gradcheck(scan_reference, inputs(2, 5, 3, 2, torch.float64))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 7, 64, 333])
def test_the_chunked_scan_has_the_values_and_gradients_of_the_reference(batch: int, length: int):
    tensors = inputs(batch, length)
    weight = torch.randn(batch, length, 6)
    slow, fast = scan_reference(*tensors), scan_chunked(*tensors)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-4)
    for a, b in zip(
        torch.autograd.grad((slow * weight).sum(), tensors),
        torch.autograd.grad((fast * weight).sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(b, a, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_chunked_scan_is_as_accurate_as_the_reference(case: Case):
    assert_as_accurate_as_reference(scan_chunked, case)


def test_the_chunked_scan_allocates_no_tensor_of_all_states():
    length, d, n = 800, 6, 16
    tensors = inputs(1, length, d, n)
    with LargestTensor() as largest:
        scan_chunked(*tensors).sum().backward()
    assert largest.elements < length * d * n / 4


def test_the_first_working_back_end_is_selected(monkeypatch):
    monkeypatch.delenv(dispatch.FORCE, raising=False)
    states = available_backends("cpu")
    assert list(states) == list(BACKENDS)
    assert states["torch-chunked"] == states["reference"] == "ok"
    assert "GPU" in states["mamba-ssm"]
    assert choose_backend("cpu") == next(name for name, state in states.items() if state == "ok")


def test_the_cpu_library_is_not_offered_for_a_gpu():
    assert "CPU only" in available_backends("cuda")["native-sse"]


def test_an_unknown_back_end_is_refused_with_its_name():
    with pytest.raises(ValueError, match="abacus"):
        selective_scan(*inputs(), backend="abacus")
