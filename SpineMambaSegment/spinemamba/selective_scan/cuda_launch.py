"""The scan for NVIDIA GPUs: what `kernels/scan.cu` is given, and in which order its kernels run.

Symbols: L tokens, d channels, n states, K orders, r rank of the step size. Nothing here knows
whether a GPU runs the kernels; `scan_nvrtc` does.
"""

from __future__ import annotations

from ctypes import Structure, c_int64, c_void_p
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 32
"""Tokens between saved states where gradients are wanted; the kernel `gradients` holds as many."""

LONG_CHUNK = 128
"""Tokens of a chunk where no gradients are wanted: fewer states to chain."""

MOST_STATES = 32
"""A warp of `gradients` holds no more."""

THREADS = {"ends": 64, "outputs": 64, "adjoint_ends": 64, "gradients": 256}
THREADS |= {"chain": 128, "adjoint_chain": 128}
"""Threads of a block of each kernel, as `kernels/scan.cu` expects them."""

Dim3 = tuple[int, int, int]


class Rows(Structure):
    """Rows of kernels/scan.cu; strides in floats."""

    _fields_ = (("data", c_void_p), ("batch", c_int64), ("token", c_int64))

    @classmethod
    def of(cls, x: Tensor) -> Rows:
        """Describe a tensor (batch, L, channels)."""
        return cls(x.data_ptr(), x.stride(0), x.stride(1))


class Problem(Structure):
    """Problem of kernels/scan.cu."""

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

    def take(self, **tensors: Tensor) -> None:
        """Set fields; a tensor becomes rows or an address, whichever the field is."""
        kinds = dict(self._fields_)
        for name, x in tensors.items():
            setattr(self, name, Rows.of(x) if kinds[name] is Rows else x.data_ptr())


class Kernels(Protocol):
    """The kernels, compiled for some n and r."""

    def launch(self, name: str, blocks: Dim3, threads: int, problem: Problem) -> None:
        """Run a kernel on the stream in use, after those before it."""


class Compiler(Protocol):
    """Gives kernels for a device, n and r."""

    def __call__(self, device: torch.device, states: int, rank: int) -> Kernels:
        """Compile, or return what has been compiled before."""


def forward(
    compiler: Compiler, tensors: tuple[Tensor, ...], walks: list[int], keep: bool
) -> tuple[Tensor, Tensor]:
    """Scan; tensors and walks as in `scan_op.native_scan`.

    Returns:
        y (batch, L, d), and the states with which chunks begin if ``keep``, else nothing: (K,
        batch, chunks, d, n).
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
    for k, walk in enumerate(_orders(walks)):
        entry = entries[k if keep else 0]
        problem = _problem(walk, u, chunk)
        problem.take(u=u, y=y, delta=delta[:, :, k], B=B[:, :, k], C=C[:, :, k])
        problem.take(A=A[k], D=D[k], entry=entry, span=span)
        if rank:
            problem.take(weight=weight[k], bias=bias[k])
        per_channel, per_state = _blocks(problem, batch, states)
        kernels.launch("ends", per_channel, THREADS["ends"], problem)
        kernels.launch("chain", per_state, THREADS["chain"], problem)
        kernels.launch("outputs", per_channel, THREADS["outputs"], problem)
    return y, entries if keep else u.new_empty(0)


def backward(
    compiler: Compiler, grad: Tensor, entries: Tensor, tensors: tuple[Tensor, ...], walks: list[int]
) -> tuple[Tensor, ...]:
    """Return the gradients of all eight tensors of `forward`."""
    u, delta, A, B, C, D, weight, bias = _dense(tensors)  # noqa: N806
    grad = _dense_rows(grad)
    grad_u = grad * D.sum(dim=0)
    grad_rows = [torch.empty(x.shape, device=x.device) for x in (delta, B, C)]
    grad_a, grad_weight, grad_bias = (torch.empty_like(x) for x in (A, weight, bias))
    kernels = compiler(u.device, A.shape[-1], 0)
    for k, walk in enumerate(_orders(walks)):
        low = delta[:, :, k]
        raw = functional.linear(low, weight[k], bias[k]) if weight.numel() else None
        step = low if raw is None else functional.softplus(raw)  # (batch, L, d)
        grad_step = torch.empty_like(step)
        problem = _problem(walk, u, CHUNK)
        problem.take(u=u, grad_y=grad, grad_u=grad_u, delta=step, grad_delta=grad_step, A=A[k])
        problem.take(B=B[:, :, k], C=C[:, :, k])
        problem.take(grad_B=grad_rows[1][:, :, k], grad_C=grad_rows[2][:, :, k])
        grad_a[k] = _gradients_of_order(kernels, problem, entries[k])
        if raw is None:
            grad_rows[0][:, :, k] = grad_step
            continue
        grad_raw = grad_step * torch.sigmoid(raw)
        grad_rows[0][:, :, k] = grad_raw @ weight[k]
        grad_weight[k] = grad_raw.flatten(0, 1).mT @ low.flatten(0, 1)
        grad_bias[k] = grad_raw.sum(dim=(0, 1))
    grad_d = (grad * u).sum(dim=(0, 1)).expand(D.shape).contiguous()
    return grad_u, grad_rows[0], grad_a, grad_rows[1], grad_rows[2], grad_d, grad_weight, grad_bias


def _gradients_of_order(kernels: Kernels, problem: Problem, entry: Tensor) -> Tensor:
    """Run the kernels of one order's backward pass; return the gradient of its A, (d, n)."""
    batch, chunks, channels, states = entry.shape
    adjoint, part = torch.empty_like(entry), torch.empty_like(entry)
    span = entry.new_empty(batch, chunks, channels)
    problem.take(entry=entry, span=span, adjoint=adjoint, grad_A=part)
    per_channel, per_state = _blocks(problem, batch, states)
    kernels.launch("adjoint_ends", per_channel, THREADS["adjoint_ends"], problem)
    kernels.launch("adjoint_chain", per_state, THREADS["adjoint_chain"], problem)
    kernels.launch("gradients", (chunks, batch, 1), THREADS["gradients"], problem)
    return part.sum(dim=(0, 1))


def _orders(walks: list[int]) -> list[list[int]]:
    return [walks[i : i + 7] for i in range(0, len(walks), 7)]


def _problem(walk: list[int], u: Tensor, chunk: int) -> Problem:
    length, channels = u.shape[1:]
    problem = Problem(length, channels, chunk, -(-length // chunk))
    problem.n, problem.s = (c_int64 * 3)(*walk[:3]), (c_int64 * 3)(*walk[3:6])
    problem.first = walk[6]
    return problem


def _blocks(problem: Problem, batch: int, states: int) -> tuple[Dim3, Dim3]:
    """Return the blocks of kernels with a thread per channel and chunk, and per state."""
    per_channel = (problem.chunks, -(-problem.channels // THREADS["ends"]), batch)
    return per_channel, (-(-problem.channels * states // THREADS["chain"]), batch, 1)


def _dense(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return tensors that the kernels can read: those without tokens wholly dense."""
    u, delta, A, B, C, D, weight, bias = tensors  # noqa: N806
    u, delta, B, C = map(_dense_rows, (u, delta, B, C))  # noqa: N806
    return u, delta, A.contiguous(), B, C, D.contiguous(), weight.contiguous(), bias.contiguous()


def _dense_rows(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()
