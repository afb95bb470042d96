"""The C++ library: accuracy, scan orders, determinism, and its torch operator."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scan_accuracy import CASES, Bound, Case, assert_as_accurate_as_reference, values_and_gradients
from scan_inputs import HERE, ORDERS, each_variant, grid_scan, in_orders, inputs, needs_library

from spinemamba.benchmark.scans import LargestTensor
from spinemamba.inference.model import load_model
from spinemamba.network.config import FINE
from spinemamba.network.rvm import VSSM
from spinemamba.protocol.model_card import find_model
from spinemamba.selective_scan.dispatch import BACKENDS, NATIVE, forced_backend, selective_scan_3d
from spinemamba.selective_scan.orders import SLICES_LAST, Order
from spinemamba.selective_scan.reference import scan_reference


@each_variant
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_library_is_as_accurate_as_the_reference(variant: str, case: Case):
    assert_as_accurate_as_reference(BACKENDS[NATIVE + variant], case)


@each_variant
@pytest.mark.parametrize(("d", "n"), [(40, 8), (3, 1), (16, 21), (130, 4)])
def test_scan_orders_in_place_have_the_values_and_gradients_of_copies(variant, d, n):
    grid = (3, 5, 4)
    s = grid_scan(grid, d, n)
    bound = Bound.of(in_orders(s, grid, "reference"), s.tensors())
    bound.check(values_and_gradients(in_orders(s, grid, NATIVE + variant), s.tensors()))


@each_variant
@pytest.mark.parametrize(("d", "n"), [(40, 8), (3, 1), (20, 29)])
@pytest.mark.parametrize("step", [0.1, 16.0])
def test_tied_decay_rates_have_the_values_and_gradients_of_the_reference(
    variant: str, d: int, n: int, step
):
    tensors = inputs(2, 100, d, n, largest_step=step)
    with torch.no_grad():
        tensors[2] *= torch.linspace(0.001, 1, d)[:, None]  # from slow to immediate decay
        tensors[2].copy_(tensors[2][:, :1] * torch.arange(1, n + 1))
    outputs = values_and_gradients(BACKENDS[NATIVE + variant], tensors)
    Bound.of(scan_reference, tensors).check(outputs)


@pytest.mark.parametrize("case", [c for c in CASES if c.rates.startswith("tied")], ids=str)
def test_the_tied_cases_meet_the_condition_of_the_library(case: Case):
    rates = case.tensors()[2].detach()
    assert torch.equal(rates, rates[:, :1] * torch.arange(1, rates.shape[1] + 1))


@each_variant
def test_the_number_of_threads_does_not_change_a_bit(variant: str):
    grid = (5, 4, 5)
    s = grid_scan(grid, 136)
    with torch.no_grad():  # tied in all channels of one order, in half of another
        s.A[0] = s.A[0, :, :1] * torch.arange(1, s.A.shape[2] + 1)
        s.A[1, :68] = s.A[0, :68]
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        y = selective_scan_3d(s, grid, ORDERS, backend=NATIVE + variant)
        results.append([y, *torch.autograd.grad(y.sum(), s.tensors())])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@each_variant
def test_the_position_in_a_batch_does_not_change_a_bit(variant: str):
    grid = (2, 3, 4)
    s = grid_scan(grid)
    alone = s.with_tensors(s.u[1:], s.low_rank[1:], s.A, s.B[1:], s.C[1:], *s.tensors()[5:])
    with torch.inference_mode():
        both = selective_scan_3d(s, grid, ORDERS, backend=NATIVE + variant)
        one = selective_scan_3d(alone, grid, ORDERS, backend=NATIVE + variant)
    assert torch.equal(both[1:], one)


@each_variant
@pytest.mark.parametrize("rate", [-1.0, -1e3, -1e30])
def test_a_channel_with_immediate_decay_does_not_change_its_neighbours(variant: str, rate: float):
    scanned = []
    for first_rate in (-1.0, rate):
        tensors = inputs(1, 70, 24, 16, largest_step=2.0)
        with torch.no_grad():
            tensors[2][0] = first_rate
        y = BACKENDS[NATIVE + variant](*tensors)
        scanned.append([y.detach(), *torch.autograd.grad(y[..., 1:].sum(), tensors[:3])])
    (y, du, dstep, dA), (y_beside, du_beside, dstep_beside, dA_beside) = scanned  # noqa: N806
    assert y_beside.isfinite().all()
    for a, b in ((y, y_beside), (du, du_beside), (dstep, dstep_beside)):
        assert torch.equal(a[..., 1:], b[..., 1:])
    assert torch.equal(dA[1:], dA_beside[1:])


@pytest.mark.parametrize("order", [*ORDERS, Order((2, 0, 1), reverse=True)])
def test_a_scan_order_visits_every_token_once_and_has_an_inverse(order: Order):
    grid = (2, 3, 4)
    tokens = torch.arange(24).reshape(1, 24, 1)
    visited = order.arrange(tokens, grid)
    assert torch.equal(order.restore(visited, grid), tokens)
    n0, n1, n2, s0, s1, s2, first = order.strides(grid)
    steps = [(i, j, k) for i in range(n0) for j in range(n1) for k in range(n2)]
    assert visited.flatten().tolist() == [first + i * s0 + j * s1 + k * s2 for i, j, k in steps]


def test_slices_last_steps_along_z_first():
    # Tokens of a (2, 2, 2) grid: z is the slowest axis in raster order and the fastest here.
    tokens = torch.arange(8).reshape(1, 8, 1)
    assert SLICES_LAST.arrange(tokens, (2, 2, 2)).flatten().tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


@needs_library
def test_the_scan_is_one_torch_operator_with_shapes_and_gradients():
    s = grid_scan((2, 3, 4), batch=1)
    strides = [n for order in ORDERS for n in order.strides((2, 3, 4))]
    torch.library.opcheck(
        torch.ops.spinemamba.selective_scan.default,
        (*s.tensors(), strides, HERE[0], True),
        test_utils=("test_schema", "test_faketensor", "test_autograd_registration"),
    )


@needs_library
def test_an_exported_layer_contains_one_scan_for_all_orders():
    config = replace(FINE, scan="tri")
    layer, tokens = VSSM(16, config).eval(), torch.randn(1, 24, 16)
    graph = torch.export.export(layer, (tokens, (2, 3, 4)), strict=False).graph
    names = [str(node.target) for node in graph.nodes if "spinemamba" in str(node.target)]
    assert names == ["spinemamba.selective_scan.default"]


@needs_library
def test_the_library_saves_far_less_than_all_states():
    length, d, n = 800, 32, 16
    tensors = inputs(1, length, d, n)
    with LargestTensor() as largest:
        BACKENDS[NATIVE + HERE[0]](*tensors).sum().backward()
    assert largest.elements < length * d * n / 8


@each_variant
def test_the_bundled_model_gives_the_same_labels_as_with_torch(variant: str):
    network = load_model(find_model("starter")).coarse.network
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 1, *network.config.patch_vox, generator=generator)
    logits = []
    for name in ("torch-chunked", NATIVE + variant):
        with forced_backend("cpu", name), torch.inference_mode():
            logits.append(network(image))
    torch.testing.assert_close(logits[1], logits[0], atol=1e-4, rtol=0)
    assert torch.equal(logits[1].argmax(dim=1), logits[0].argmax(dim=1))
