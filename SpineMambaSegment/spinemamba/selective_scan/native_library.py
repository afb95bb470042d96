"""Load the C++ library of the scan with ctypes, independent of the ABI of Python and torch.

The structures mirror kernels/scan.h, and have its names.

Symbols: L tokens, K scan orders. The operands u, delta, A, B, C and D are explained in `reference`.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

from torch import Tensor

ABI = 2
CHUNK, PAD = 32, 16
"""SCAN_ABI, SCAN_CHUNK and SCAN_PAD of kernels/scan.h."""

VARIANTS = ("avx512", "avx2", "sse", "neon")
"""Instruction sets of the library, fastest first."""

SUFFIXES = (".so", ".pyd", ".dylib", ".dll")


class NativeError(RuntimeError):
    """The library or the CUDA kernels cannot be used; the message is the reason."""


class Rows(Structure):
    """ScanRows of kernels/scan.h: rows of floats, with strides in floats."""

    _fields_ = (("data", c_void_p), ("batch", c_int64), ("token", c_int64), ("order", c_int64))

    @classmethod
    def of(cls, x: Tensor) -> Rows:
        """Return the rows of a tensor (batch, L, channels) or (batch, L, K, channels)."""
        return cls(x.data_ptr(), x.stride(0), x.stride(1), x.stride(2) if x.ndim == 4 else 0)


class _ScanOrder(Structure):
    """ScanOrder of kernels/scan.h: lengths, strides and first token; see `Order.strides`."""

    _fields_ = (("n", c_int64 * 3), ("s", c_int64 * 3), ("first", c_int64))


_NUMBERS = ("batch", "length", "channels", "states", "orders", "rank", "slices", "threads")
_ROWS = ("u", "y", "delta", "B", "C")
_VECTORS = ("A", "D", "weight", "bias", "entry")
_GRAD_ROWS = ("grad_y", "grad_u", "grad_delta", "grad_B", "grad_C")
_GRAD_SLICES = ("delta_slice", "B_slice", "C_slice")
_GRAD_VECTORS = ("grad_A", "grad_D", "grad_weight", "grad_bias")


class _OperandStructure(Structure):
    """A structure of numbers, rows and addresses."""

    def set(self, **values: Tensor | int) -> None:
        """Set fields; a tensor is stored as rows or as an address, depending on the field."""
        kinds = dict(self._fields_)
        for name, value in values.items():
            if isinstance(value, Tensor):
                value = Rows.of(value) if kinds[name] is Rows else value.data_ptr()
            setattr(self, name, value)


class Pass(_OperandStructure):
    """ScanPass of kernels/scan.h: operands of a fused operation before or after the scan."""

    _fields_ = (
        *((name, c_int64) for name in ("batch", "length", "channels", "taps", "threads")),
        *((name, Rows) for name in ("x", "gate", "y")),
        *((name, c_void_p) for name in ("weight", "bias")),
    )


class Problem(_OperandStructure):
    """ScanProblem of kernels/scan.h: operands of the scan and of its gradients."""

    _fields_ = (
        *((name, c_int64) for name in _NUMBERS),
        ("order", POINTER(_ScanOrder)),
        *((name, Rows) for name in _ROWS),
        *((name, c_void_p) for name in _VECTORS),
        *((name, Rows) for name in _GRAD_ROWS),
        *((name, c_int64) for name in _GRAD_SLICES),
        *((name, c_void_p) for name in _GRAD_VECTORS),
    )

    def set_orders(self, strides: list[int]) -> None:
        """Set the scan orders, seven integers each; see `Order.strides`."""
        parts = [strides[i : i + 7] for i in range(0, len(strides), 7)]
        orders = [_ScanOrder((c_int64 * 3)(*p[:3]), (c_int64 * 3)(*p[3:6]), p[6]) for p in parts]
        self.orders = len(orders)
        self.order = (_ScanOrder * len(orders))(*orders)


_CALLS = {
    "scan_forward": Problem,
    "scan_backward": Problem,
    "scan_convolve": Pass,
    "scan_gate": Pass,
}


class Library:
    """A loaded scan library.

    Args:
        path: Path of the shared library.

    Raises:
        NativeError: If it is not a scan library, or of another version.
    """

    def __init__(self, path: Path):
        try:
            self._calls = ctypes.CDLL(str(path))
            self._calls.scan_supports.argtypes = [c_char_p]
            for name, kind in _CALLS.items():
                call = getattr(self._calls, name)
                call.argtypes, call.restype = [POINTER(kind), c_char_p], c_int
            abi = self._calls.scan_abi()
        except (OSError, AttributeError) as error:
            raise NativeError(
                f"{path.name} is not a scan library: {_short(error, path)}"
            ) from error
        if abi != ABI:
            raise NativeError(f"{path.name} has version {abi}, not {ABI}: install again")

    def check(self, variant: str) -> None:
        """Check that a variant runs on this processor.

        Raises:
            NativeError: If it does not.
        """
        state = self._calls.scan_supports(variant.encode())
        if state < 0:
            raise NativeError("for another family of processors")
        if state == 0:
            raise NativeError("not on this processor")

    def forward(self, problem: Problem, variant: str) -> None:
        """Run the scan: write y and, if set, the entry states."""
        self._run("scan_forward", problem, variant)

    def backward(self, problem: Problem, variant: str) -> None:
        """Run the backward pass: write all gradients."""
        self._run("scan_backward", problem, variant)

    def convolve(self, operands: Pass, variant: str) -> None:
        """Write y = silu(bias + causal convolution of x)."""
        self._run("scan_convolve", operands, variant)

    def gate(self, operands: Pass, variant: str) -> None:
        """Write y = x silu(gate)."""
        self._run("scan_gate", operands, variant)

    def _run(self, call: str, operands: _OperandStructure, variant: str) -> None:
        state = getattr(self._calls, call)(ctypes.byref(operands), variant.encode())
        if state > 0:
            raise MemoryError("not enough memory for the scan")
        if state < 0:
            self.check(variant)


def library_path() -> Path:
    """Return the path of the library that the build of the package or of the extension made.

    Raises:
        NativeError: If the library was not built.
    """
    folder = Path(__file__).parent / "kernels"
    built = [p for p in folder.glob("_scan*") if p.suffix in SUFFIXES]
    if not built:
        raise NativeError("not built: installing this package with a C++ compiler builds it")
    # Builds for other versions of Python may lie here too. All are equivalent; take the newest.
    return max(built, key=lambda path: path.stat().st_mtime)


@cache
def library() -> Library:
    """Return the library; it is loaded at the first call.

    Raises:
        NativeError: If it is missing or cannot be used.
    """
    return Library(library_path())


def _short(error: Exception, path: Path) -> str:
    return str(error).replace(f"{path}: ", "").partition("\n")[0]


def dense_rows(x: Tensor) -> Tensor:
    """Return a tensor whose last axis is contiguous, as the kernels expect; copied if necessary."""
    return x if x.stride(-1) == 1 else x.contiguous()
