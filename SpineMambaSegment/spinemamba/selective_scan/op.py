"""The fused scans as one torch operator, so that autograd, compile and export see one step.

The operator runs in the C++ library on a CPU, and in kernels compiled by NVRTC on a CUDA device.

Symbols: L tokens, d channels, n states, K orders, r rank of the step size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spinemamba.selective_scan import cuda_launch, native_library, nvrtc
from spinemamba.selective_scan.native_library import CHUNK, PAD, Problem, dense_rows

_INPUTS = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor D, Tensor weight, Tensor bias, "
    "int[] strides, str variant"
)

_EIGHT_TENSORS = ", ".join(["Tensor"] * 8)

SCAN, BACKWARD = "spinemamba::selective_scan", "spinemamba::selective_scan_backward"

_MAX_SLICES = 4
"""Largest number of slices of the channels that a backward pass processes in parallel."""


# `torch.library.custom_op` imports the compiler at its first call, which takes seconds.
torch.library.define(SCAN, f"({_INPUTS}, bool keep) -> (Tensor, Tensor)")
torch.library.define(BACKWARD, f"(Tensor grad, Tensor entry, {_INPUTS}) -> ({_EIGHT_TENSORS})")


@torch.library.impl(SCAN, "cpu")
def _scan(*args) -> tuple[Tensor, Tensor]:
    *tensors, strides, variant, keep = args
    u, _, A, *_ = tensors  # noqa: N806
    y, entry = torch.empty(u.shape), _empty_entry_states(u, A, keep)
    dense = _dense(*tensors)
    problem = _problem(dense, strides)
    problem.set(y=y)
    if keep:
        problem.set(entry=entry)
    native_library.library().forward(problem, variant)
    return y, entry


@torch.library.impl(BACKWARD, "cpu")
def _scan_backward(*args) -> tuple[Tensor, ...]:
    grad, entry, *tensors, strides, variant = args
    dense = _dense(*tensors)
    u, delta, A, B, C, D, weight, bias = dense  # noqa: N806
    problem = _problem(dense, strides)
    batch, parts = u.shape[0], problem.slices
    # Each slice of the channels and each batch has its own sums: threads must not share them.
    out_delta = torch.empty(parts if problem.rank else 1, *delta.shape)
    out_u = torch.empty(u.shape)
    out_b, out_c = (torch.empty(parts, *x.shape) for x in (B, C))
    sums = [torch.empty(batch, *x.shape) for x in (A, D, weight, bias)]
    grad = dense_rows(grad)
    problem.set(entry=entry, grad_y=grad, grad_u=out_u)
    problem.set(grad_delta=out_delta[0], grad_B=out_b[0], grad_C=out_c[0])
    problem.set(delta_slice=out_delta.stride(0), B_slice=out_b.stride(0), C_slice=out_c.stride(0))
    problem.set(**dict(zip(("grad_A", "grad_D", "grad_weight", "grad_bias"), sums, strict=True)))
    native_library.library().backward(problem, variant)
    out_delta, out_b, out_c, *sums = (
        x.sum(0) if x.shape[0] > 1 else x[0] for x in (out_delta, out_b, out_c, *sums)
    )
    return out_u, out_delta, sums[0], out_b, out_c, *sums[1:]


@torch.library.impl(SCAN, "cuda")
def _scan_cuda(*args) -> tuple[Tensor, Tensor]:
    *tensors, strides, _, keep = args
    return cuda_launch.forward(nvrtc.kernels, tuple(tensors), strides, keep)


@torch.library.impl(BACKWARD, "cuda")
def _scan_backward_cuda(*args) -> tuple[Tensor, ...]:
    grad, entry, *tensors, strides, _ = args
    return cuda_launch.backward(nvrtc.kernels, grad, entry, tuple(tensors), strides)


def _dense(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors that the library can read: dense rows of tokens, contiguous parameters."""
    u, delta, A, B, C, D, weight, bias = tensors  # noqa: N806
    u, delta, B, C = map(dense_rows, (u, delta, B, C))  # noqa: N806
    A, D, weight, bias = (x.contiguous() for x in (A, D, weight, bias))  # noqa: N806
    return u, delta, A, B, C, D, weight, bias


def _problem(tensors: tuple[Tensor, ...], strides: list[int]) -> Problem:
    u, delta, A, B, C, D, weight, bias = tensors  # noqa: N806
    problem = Problem()
    batch, length, channels = u.shape
    problem.set(batch=batch, length=length, channels=channels, states=A.shape[-1])
    problem.set(rank=weight.shape[-1] if weight.numel() else 0, threads=torch.get_num_threads())
    problem.set(slices=max(1, min(_MAX_SLICES, channels // (2 * PAD))))
    problem.set(u=u, delta=delta, B=B, C=C)
    problem.set(A=A, D=D, weight=weight, bias=bias)
    problem.set_orders(strides)
    return problem


def _empty_entry_states(u: Tensor, A: Tensor, keep: bool) -> Tensor:  # noqa: N803
    """Return a buffer for the state before each chunk; an empty tensor unless ``keep``."""
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
        shape = (A.shape[0], u.shape[0], chunks, *A.shape[1:])
        return u.new_empty(u.shape), u.new_empty(shape)
    return u.new_empty(u.shape), _empty_entry_states(u, A, keep)


@torch.library.register_fake(BACKWARD)
def _(*args):
    _, _, *tensors, _, _ = args
    return tuple(x.new_empty(x.shape) for x in tensors)


def _setup_context(ctx, inputs, output) -> None:
    *tensors, strides, variant, _ = inputs
    ctx.save_for_backward(output[1], *tensors)
    ctx.strides, ctx.variant = strides, variant


def _backward(ctx, grad, _):
    entry, *tensors = ctx.saved_tensors
    gradients = torch.ops.spinemamba.selective_scan_backward(
        grad, entry, *tensors, ctx.strides, ctx.variant
    )
    return *gradients, None, None, None


torch.library.register_autograd(SCAN, _backward, setup_context=_setup_context)


def native_scan(*tensors: Tensor, strides: list[int], variant: str) -> Tensor:
    """Scan the tokens of a grid in K orders and return the sum of the outputs.

    Args:
        tensors: Eight float32 tensors: input signal u (batch, L, d); delta, the positive step sizes
            (batch, L, K, d) or their low-rank input (batch, L, K, r); negative decay rates A
            (K, d, n); input and output weights B and C (batch, L, K, n); weight D of the direct
            path (K, d); weight (K, d, r) and bias (K, d), with which the step sizes are
            softplus(weight delta + bias), or two empty tensors if delta holds the step sizes.
        strides: Scan orders, seven integers each; see `Order.strides`.
        variant: Instruction set, one of `native_library.VARIANTS`; ignored on a CUDA device.

    Returns:
        Output y, (batch, L, d).
    """
    keep = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    return torch.ops.spinemamba.selective_scan(*tensors, strides, variant, keep)[0]
