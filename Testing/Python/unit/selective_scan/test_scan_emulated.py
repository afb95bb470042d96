"""The arithmetic of every instruction set, emulated on any processor with a C++ compiler.

Errors of an instruction set are thus found on every machine. simd_on_cpu.h emulates the intrinsics.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import torch
from fused_comparison import SHAPES, assert_as_accurate_as_torch, convolutions, gates
from scan_accuracy import (
    CASES,
    Bound,
    Case,
    assert_as_accurate_as_reference,
    bound_of,
    values_and_gradients,
)
from scan_inputs import HERE, grid_scan, in_orders, one_thread  # noqa: F401
from simd_emulation import Fault, emulated_library, has_compiler

from spinemamba.selective_scan import native_library
from spinemamba.selective_scan.dispatch import BACKENDS, NATIVE, forced_backend
from spinemamba.selective_scan.native_library import VARIANTS, Library

pytestmark = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler")

GRID = (3, 5, 4)

FAULTS = {
    "ln 2 is off by 1e-5": Fault("simd.h", "set(6.931471825e-01f)", "set(6.931573153e-01f)"),
    "powers of rounded decays": Fault(
        "kernel_tile.h",
        "return fma(a, b, add(a, b));",
        "return sub(mul(add(a, set(1.f)), add(b, set(1.f))), set(1.f));",
    ),
}
"""SSE computes no powers above the fourth, whose rounding errors stay within the bound."""


@pytest.fixture(scope="module", params=VARIANTS)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Return an instruction set and the emulated library for it."""
    return request.param, emulated_library(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def emulated(compiled: tuple[str, Library], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Use the back end of an emulated instruction set; yield its name."""
    variant, library = compiled
    use(library, monkeypatch)
    with forced_backend("cpu", NATIVE + variant):
        yield NATIVE + variant


def use(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the native library by another one."""
    monkeypatch.setattr(native_library, "library", lambda: library)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_instruction_set_is_as_accurate_as_the_reference(emulated: str, case: Case):
    assert_as_accurate_as_reference(BACKENDS[emulated], case)


@pytest.mark.parametrize(("d", "n"), [(40, 8), (3, 1), (16, 21), (130, 4)])
def test_low_rank_steps_in_three_orders_are_as_accurate_as_the_reference(
    emulated: str, d: int, n: int
):
    s = grid_scan(GRID, d, n)
    bound = Bound.of(in_orders(s, GRID, "reference"), s.tensors())
    bound.check(values_and_gradients(in_orders(s, GRID, emulated), s.tensors()))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_convolution_and_gate_are_as_accurate_as_torch(emulated: str, shape: tuple[int, ...]):
    assert_as_accurate_as_torch(*convolutions(shape))
    assert_as_accurate_as_torch(*gates(shape))


@pytest.mark.parametrize("case", CASES[::5], ids=str)
@pytest.mark.parametrize("variant", HERE)
def test_the_emulation_equals_the_processor_in_every_bit(variant, case, tmp_path, monkeypatch):
    hardware = values_and_gradients(BACKENDS[NATIVE + variant], case.tensors())
    use(emulated_library(variant, tmp_path), monkeypatch)
    emulation = values_and_gradients(BACKENDS[NATIVE + variant], case.tensors())
    assert all(torch.equal(a, b) for a, b in zip(hardware, emulation, strict=True))


@pytest.mark.parametrize(
    ("fault", "variant"),
    [*product(FAULTS, ("avx512", "avx2", "neon")), ("ln 2 is off by 1e-5", "sse")],
)
def test_a_planted_fault_in_an_exponential_exceeds_the_bound(
    fault, variant, tmp_path: Path, monkeypatch
):
    use(emulated_library(variant, tmp_path, FAULTS[fault]), monkeypatch)
    scanned = BACKENDS[NATIVE + variant]
    used = [
        max(bound_of(case).used(values_and_gradients(scanned, case.tensors())))
        for case in CASES
        if (case.steps, case.rates) == ("constant", "tied")
    ]
    assert max(used) > 1
