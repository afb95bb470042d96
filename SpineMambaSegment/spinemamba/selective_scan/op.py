"""The fused scans as one operator of torch, so that autograd, compile and export see one step.

On the CPU the C++ library runs it, on a CUDA device the kernels that NVRTC has compiled.

Symbols: L tokens, d channels, n states, K orders, r rank of the step size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spinemamba.selective_scan import cuda_launch, native_library, nvrtc
from spinemamba.selective_scan.native_library import CHUNK, PAD, Problem

_INPUTS = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor D, Tensor weight, Tensor bias, "
    "int[] walks, str variant"
)

_EIGHT_TENSORS = ", ".join(["Tensor"] * 8)

SCAN, BACKWARD = "spinemamba::selective_scan", "spinemamba::selective_scan_backward"

MOST_SLICES = 4
"""Parts of the channels that a backward pass may work on at a time, per batch."""


# Not `torch.library.custom_op`: at its first call it imports the compiler, which takes seconds.
torch.library.define(SCAN, f"({_INPUTS}, bool keep) -> (Tensor, Tensor)")
torch.library.define(BACKWARD, f"(Tensor grad, Tensor entry, {_INPUTS}) -> ({_EIGHT_TENSORS})")


@torch.library.impl(SCAN, "cpu")
def _scan(*args) -> tuple[Tensor, Tensor]:
    *tensors, walks, variant, keep = args
    u, _, A, *_ = tensors  # noqa: N806
    y, entry = torch.empty(u.shape), _room_for_entry(u, A, keep)
    dense = _dense(*tensors)
    problem = _problem(dense, walks)
    problem.take(y=y)
    if keep:
        problem.take(entry=entry)
    native_library.library().forward(problem, variant)
    return y, entry


@torch.library.impl(BACKWARD, "cpu")
def _scan_backward(*args) -> tuple[Tensor, ...]:
    grad, entry, *tensors, walks, variant = args
    dense = _dense(*tensors)
    u, delta, A, B, C, D, weight, bias = dense  # noqa: N806
    problem = _problem(dense, walks)
    batch, parts = u.shape[0], problem.slices
    # Threads must not add to the same number: each slice of the channels and batch has its own.
    low = torch.empty(parts if problem.rank else 1, *delta.shape)
    out_u = torch.empty(u.shape)
    out_b, out_c = (torch.empty(parts, *x.shape) for x in (B, C))
    sums = [torch.empty(batch, *x.shape) for x in (A, D, weight, bias)]
    grad = _dense_rows(grad)
    problem.take(entry=entry, grad_y=grad, grad_u=out_u)
    problem.take(grad_delta=low[0], grad_B=out_b[0], grad_C=out_c[0])
    problem.take(delta_slice=low.stride(0), B_slice=out_b.stride(0), C_slice=out_c.stride(0))
    problem.take(**dict(zip(("grad_A", "grad_D", "grad_weight", "grad_bias"), sums, strict=True)))
    native_library.library().backward(problem, variant)
    low, out_b, out_c, *sums = (
        x.sum(0) if x.shape[0] > 1 else x[0] for x in (low, out_b, out_c, *sums)
    )
    return out_u, low, sums[0], out_b, out_c, *sums[1:]


@torch.library.impl(SCAN, "cuda")
def _scan_cuda(*args) -> tuple[Tensor, Tensor]:
    *tensors, walks, _, keep = args
    return cuda_launch.forward(nvrtc.kernels, tuple(tensors), walks, keep)


@torch.library.impl(BACKWARD, "cuda")
def _scan_backward_cuda(*args) -> tuple[Tensor, ...]:
    grad, entry, *tensors, walks, _ = args
    return cuda_launch.backward(nvrtc.kernels, grad, entry, tuple(tensors), walks)


def _dense(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors that the library can read: those without tokens wholly dense."""
    u, delta, A, B, C, D, weight, bias = tensors  # noqa: N806
    u, delta, B, C = map(_dense_rows, (u, delta, B, C))  # noqa: N806
    A, D, weight, bias = (x.contiguous() for x in (A, D, weight, bias))  # noqa: N806
    return u, delta, A, B, C, D, weight, bias


def _dense_rows(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _problem(tensors: tuple[Tensor, ...], walks: list[int]) -> Problem:
    u, delta, A, B, C, D, weight, bias = tensors  # noqa: N806
    problem = Problem()
    batch, length, channels = u.shape
    problem.take(batch=batch, length=length, channels=channels, states=A.shape[-1])
    problem.take(rank=weight.shape[-1] if weight.numel() else 0, threads=torch.get_num_threads())
    problem.take(slices=max(1, min(MOST_SLICES, channels // (2 * PAD))))
    problem.take(u=u, delta=delta, B=B, C=C)
    problem.take(A=A, D=D, weight=weight, bias=bias)
    problem.walk_along(walks)
    return problem


def _room_for_entry(u: Tensor, A: Tensor, keep: bool) -> Tensor:  # noqa: N803
    """Return room for the states before chunks."""
    if not keep:
        return u.new_empty(0)
    batch, length, channels = u.shape
    padded = -(-channels // PAD) * PAD
    make = u.new_empty if padded == channels else u.new_zeros
    return make(batch, A.shape[0], -(-length // CHUNK), padded * A.shape[-1])


@torch.library.register_fake(SCAN)
def _(*args):
    u, _, A, *_, keep = args  # noqa: N806
    if u.is_cuda and keep:
        chunks = -(-u.shape[1] // cuda_launch.CHUNK)
        room = (A.shape[0], u.shape[0], chunks, *A.shape[1:])
        return u.new_empty(u.shape), u.new_empty(room)
    return u.new_empty(u.shape), _room_for_entry(u, A, keep)


@torch.library.register_fake(BACKWARD)
def _(*args):
    _, _, *tensors, _, _ = args
    return tuple(x.new_empty(x.shape) for x in tensors)


def _remember(ctx, inputs, output) -> None:
    *tensors, walks, variant, _ = inputs
    ctx.save_for_backward(output[1], *tensors)
    ctx.walks, ctx.variant = walks, variant


def _backward(ctx, grad, _):
    entry, *tensors = ctx.saved_tensors
    found = torch.ops.spinemamba.selective_scan_backward(
        grad, entry, *tensors, ctx.walks, ctx.variant
    )
    return *found, None, None, None


torch.library.register_autograd(SCAN, _backward, setup_context=_remember)


def native_scan(*tensors: Tensor, walks: list[int], variant: str) -> Tensor:
    """Scan the tokens of a grid in K orders and add up what they give.

    Args:
        tensors: u, delta, A, B, C, D, weight and bias, all float32: signal (batch, L, d); positive
            steps (batch, L, K, d) or their low-rank factors (batch, L, K, r); decay rates,
            negative, (K, d, n); input and output weights (batch, L, K, n); weight of the signal
            itself (K, d); (K, d, r) and (K, d), with which the steps are
            softplus(weight delta + bias), or two empty tensors if delta holds the steps.
        walks: The orders, seven numbers for each; see `Order.walk`.
        variant: Instruction set, one of `scan_native.VARIANTS`; no matter on a CUDA device.

    Returns:
        y, (batch, L, d).
    """
    keep = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    return torch.ops.spinemamba.selective_scan(*tensors, walks, variant, keep)[0]
