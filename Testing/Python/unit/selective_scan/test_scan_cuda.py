"""The scan for NVIDIA GPUs without a GPU: kernels and host code run on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from cuda_emulation import EmulatingCompiler, has_compiler
from scan_accuracy import Bound, weight_of
from scan_inputs import ORDERS, grid_scan, in_orders

from spinemamba.common.errors import UserError
from spinemamba.selective_scan import cuda_launch, dispatch, nvrtc
from spinemamba.selective_scan.dispatch import NVRTC, available_backends
from spinemamba.selective_scan.grid import GridScan
from spinemamba.selective_scan.native_library import NativeError

GRID = (2, 7, 6)
STRIDES = [number for order in ORDERS for number in order.strides(GRID)]

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler")


def bound_of(s: GridScan) -> Bound:
    """Return the error bound of the kernels, which is that of every scan."""
    return Bound.of(in_orders(s, GRID, "reference"), s.tensors())


def used(compiler: EmulatingCompiler, d: int, n: int) -> list[float]:
    """Return errors of the emulated kernels relative to the bound: values, then gradients."""
    s = grid_scan(GRID, d, n)
    tensors = tuple(x.detach() for x in s.tensors())
    y, entries = cuda_launch.forward(compiler, tensors, STRIDES, True)
    grads = cuda_launch.backward(compiler, weight_of(y), entries, tensors, STRIDES)
    return bound_of(s).used([y, *grads])


@needs_compiler
@pytest.mark.parametrize(("d", "n"), [(20, 5), pytest.param(3, 18, marks=pytest.mark.slow)])
def test_the_cuda_kernels_have_the_values_and_gradients_of_the_reference(d, n, tmp_path: Path):
    assert max(used(EmulatingCompiler(tmp_path), d, n)) <= 1


@pytest.mark.slow
@needs_compiler
def test_a_planted_fault_in_a_cuda_kernel_exceeds_the_bound(tmp_path: Path):
    fault = ("g = g * exp2f(rate * p.span[at + i / STATES]) + end;", "g = end;")
    assert max(used(EmulatingCompiler(tmp_path, fault), 3, 2)) > 1000


@needs_compiler
def test_chunks_without_gradients_give_the_same_and_save_no_states(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(cuda_launch, "LONG_CHUNK", 19)
    s = grid_scan(GRID, 20, 5)
    tensors = tuple(x.detach() for x in s.tensors())
    y, entries = cuda_launch.forward(EmulatingCompiler(tmp_path), tensors, STRIDES, False)
    bound_of(s).check([y])
    assert entries.numel() == 0


def test_nvrtc_compiles_the_kernels_and_refuses_unknown_architectures():
    try:
        binary = nvrtc.compile_kernels("sm_86", 16, 4)
    except NativeError as error:
        pytest.skip(str(error))
    assert binary[:4] == b"\x7fELF"
    with pytest.raises(NativeError, match="arch"):
        nvrtc.compile_kernels("sm_1", 16, 4)


def test_a_torch_without_nvrtc_gives_a_message(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(nvrtc, "library_folders", lambda: [tmp_path, tmp_path / "none"])
    with pytest.raises(NativeError, match="contains no NVRTC"):
        nvrtc.compile_kernels("sm_86", 16, 4)


def test_the_cuda_back_end_is_not_offered_for_a_cpu():
    assert available_backends("cpu")[NVRTC] == "needs an NVIDIA GPU"


def test_a_device_without_a_working_back_end_is_named(monkeypatch):
    monkeypatch.delenv(dispatch.FORCE, raising=False)
    with pytest.raises(UserError, match="No scan back end works on the device 'abacus'"):
        dispatch.choose_backend("abacus")


def test_an_apple_gpu_is_reported_as_untested():
    with dispatch.forced_backend("mps", "torch-chunked"):
        assert dispatch.describe_backend("mps") == "torch-chunked (never tested on an Apple GPU)"
