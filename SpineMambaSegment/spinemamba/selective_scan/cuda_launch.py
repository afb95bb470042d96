"""The scan for NVIDIA GPUs: arguments and order of the kernels of kernels/scan.cu.

This module does not depend on a GPU: `nvrtc` compiles and launches the kernels, and tests run them
on a CPU.

Symbols: L tokens, d channels, n states, K scan orders, r rank of the step sizes.
"""

from __future__ import annotations

from ctypes import Structure, c_int64, c_void_p
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.selective_scan.native_library import dense_rows

CHUNK = 32
"""Tokens per chunk if gradients are required; the kernel `gradients` holds this many tokens."""

LONG_CHUNK = 128
"""Tokens per chunk if no gradients are required; there are fewer states to chain."""

MAX_STATES = 32
"""Largest n: the kernel `gradients` has one state per thread of a warp."""

_THREADS = {"ends": 64, "outputs": 64, "adjoint_ends": 64, "gradients": 256}
_THREADS |= {"chain": 128, "adjoint_chain": 128}
"""Threads per block of each kernel, as expected by kernels/scan.cu."""

Dim3 = tuple[int, int, int]


class Rows(Structure):
    """Rows of kernels/scan.cu, with strides in floats."""

    _fields_ = (("data", c_void_p), ("batch", c_int64), ("token", c_int64))

    @classmethod
    def of(cls, x: Tensor) -> Rows:
        """Return the rows of a tensor (batch, L, channels)."""
        return cls(x.data_ptr(), x.stride(0), x.stride(1))


class Problem(Structure):
    """Problem of kernels/scan.cu: operands of one scan order."""

    _fields_ = (
        *((name, c_int64) for name in ("length", "channels", "chunk", "chunks")),
        ("n", c_int64 * 3),
        ("s", c_int64 * 3),
        ("first", c_int64),
        *((name, Rows) for name in ("u", "y", "delta", "B", "C")),
        *((name, c_void_p) for name in ("A", "D", "weight", "bias", "entry", "span")),
        *((name, Rows) for name in ("grad_y", "grad_u", "grad_delta", "grad_B", "grad_C")),
        *((name, c_void_p) for name in ("adjoint", "grad_A")),
    )

    def set(self, **tensors: Tensor) -> None:
        """Set fields; a tensor is stored as rows or as an address, depending on the field."""
        kinds = dict(self._fields_)
        for name, x in tensors.items():
            setattr(self, name, Rows.of(x) if kinds[name] is Rows else x.data_ptr())


class Kernels(Protocol):
    """Kernels compiled for a certain n and r."""

    def launch(self, name: str, blocks: Dim3, threads: int, problem: Problem) -> None:
        """Queue a kernel on the current stream."""


class Compiler(Protocol):
    """Function that returns the kernels for a device, n and r."""

    def __call__(self, device: torch.device, states: int, rank: int) -> Kernels:
        """Return the kernels; they are compiled at the first call."""


def forward(
    compiler: Compiler, tensors: tuple[Tensor, ...], strides: list[int], keep: bool
) -> tuple[Tensor, Tensor]:
    """Run the scan.

    Args:
        compiler: Returns the kernels.
        tensors: As in `op.native_scan`.
        strides: As in `op.native_scan`.
        keep: True to keep the entry states for the backward pass.

    Returns:
        y (batch, L, d), and the entry state of each chunk (K, batch, chunks, d, n); an empty
        tensor unless ``keep``.
    """
    u, delta, A, B, C, D, weight, bias = _dense(tensors)  # noqa: N806
    batch, length, channels = u.shape
    states, rank = A.shape[-1], weight.shape[-1] if weight.numel() else 0
    kernels = compiler(u.device, states, rank)
    chunk = CHUNK if keep else LONG_CHUNK
    chunks = -(-length // chunk)
    y = torch.zeros_like(u)
    shape = (batch, chunks, channels)
    entries = u.new_empty(A.shape[0] if keep else 1, *shape, states)
    span = u.new_empty(shape)
    for k, order in enumerate(_orders(strides)):
        entry = entries[k if keep else 0]
        problem = _problem(order, u, chunk)
        problem.set(u=u, y=y, delta=delta[:, :, k], B=B[:, :, k], C=C[:, :, k])
        problem.set(A=A[k], D=D[k], entry=entry, span=span)
        if rank:
            problem.set(weight=weight[k], bias=bias[k])
        per_channel, per_state = _blocks(problem, batch, states)
        kernels.launch("ends", per_channel, _THREADS["ends"], problem)
        kernels.launch("chain", per_state, _THREADS["chain"], problem)
        kernels.launch("outputs", per_channel, _THREADS["outputs"], problem)
    return y, entries if keep else u.new_empty(0)


def backward(
    compiler: Compiler,
    grad: Tensor,
    entries: Tensor,
    tensors: tuple[Tensor, ...],
    strides: list[int],
) -> tuple[Tensor, ...]:
    """Return the gradients of all eight tensors of `forward`."""
    u, delta, A, B, C, D, weight, bias = _dense(tensors)  # noqa: N806
    grad = dense_rows(grad)
    grad_u = grad * D.sum(dim=0)
    grad_rows = [torch.empty(x.shape, device=x.device) for x in (delta, B, C)]
    grad_a, grad_weight, grad_bias = (torch.empty_like(x) for x in (A, weight, bias))
    kernels = compiler(u.device, A.shape[-1], 0)
    for k, order in enumerate(_orders(strides)):
        low_rank = delta[:, :, k]
        raw = functional.linear(low_rank, weight[k], bias[k]) if weight.numel() else None
        step = low_rank if raw is None else functional.softplus(raw)  # (batch, L, d)
        grad_step = torch.empty_like(step)
        problem = _problem(order, u, CHUNK)
        problem.set(u=u, grad_y=grad, grad_u=grad_u, delta=step, grad_delta=grad_step, A=A[k])
        problem.set(B=B[:, :, k], C=C[:, :, k])
        problem.set(grad_B=grad_rows[1][:, :, k], grad_C=grad_rows[2][:, :, k])
        grad_a[k] = _gradients_of_order(kernels, problem, entries[k])
        if raw is None:
            grad_rows[0][:, :, k] = grad_step
            continue
        grad_raw = grad_step * torch.sigmoid(raw)
        grad_rows[0][:, :, k] = grad_raw @ weight[k]
        grad_weight[k] = grad_raw.flatten(0, 1).mT @ low_rank.flatten(0, 1)
        grad_bias[k] = grad_raw.sum(dim=(0, 1))
    grad_d = (grad * u).sum(dim=(0, 1)).expand(D.shape).contiguous()
    return grad_u, grad_rows[0], grad_a, grad_rows[1], grad_rows[2], grad_d, grad_weight, grad_bias


def _gradients_of_order(kernels: Kernels, problem: Problem, entry: Tensor) -> Tensor:
    """Run the backward pass of one scan order and return the gradient of its A, (d, n)."""
    batch, chunks, channels, states = entry.shape
    adjoint, part = torch.empty_like(entry), torch.empty_like(entry)
    span = entry.new_empty(batch, chunks, channels)
    problem.set(entry=entry, span=span, adjoint=adjoint, grad_A=part)
    per_channel, per_state = _blocks(problem, batch, states)
    kernels.launch("adjoint_ends", per_channel, _THREADS["adjoint_ends"], problem)
    kernels.launch("adjoint_chain", per_state, _THREADS["adjoint_chain"], problem)
    kernels.launch("gradients", (chunks, batch, 1), _THREADS["gradients"], problem)
    return part.sum(dim=(0, 1))


def _orders(strides: list[int]) -> list[list[int]]:
    return [strides[i : i + 7] for i in range(0, len(strides), 7)]


def _problem(order: list[int], u: Tensor, chunk: int) -> Problem:
    length, channels = u.shape[1:]
    problem = Problem(length, channels, chunk, -(-length // chunk))
    problem.n, problem.s = (c_int64 * 3)(*order[:3]), (c_int64 * 3)(*order[3:6])
    problem.first = order[6]
    return problem


def _blocks(problem: Problem, batch: int, states: int) -> tuple[Dim3, Dim3]:
    """Return the grid sizes of kernels with one thread per channel and chunk, and per state."""
    per_channel = (problem.chunks, -(-problem.channels // _THREADS["ends"]), batch)
    return per_channel, (-(-problem.channels * states // _THREADS["chain"]), batch, 1)


def _dense(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return tensors that the kernels can read: dense rows of tokens, contiguous parameters."""
    u, delta, A, B, C, D, weight, bias = tensors  # noqa: N806
    u, delta, B, C = map(dense_rows, (u, delta, B, C))  # noqa: N806
    return u, delta, A.contiguous(), B, C, D.contiguous(), weight.contiguous(), bias.contiguous()
