"""Fused operations before and after the scans of a layer: convolution and gate.

Torch needs about six passes over memory for them, which take as long as a scan. The C++ library
needs one pass each. It is used if it is the selected back end and no gradient is required;
otherwise the same is computed with torch.

Symbols: L tokens, d channels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.selective_scan import native_library
from spinemamba.selective_scan.dispatch import NATIVE, choose_backend
from spinemamba.selective_scan.native_library import Pass, dense_rows

torch.library.define(
    "spinemamba::convolve", "(Tensor x, Tensor weight, Tensor bias, str variant) -> Tensor"
)
torch.library.define("spinemamba::gate", "(Tensor x, Tensor gate, str variant) -> Tensor")


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return SiLU of a causal depthwise convolution along the tokens.

    Args:
        x: Tokens, (batch, L, d).
        weight: (d, taps); the last tap applies to the current token.
        bias: (d,).

    Returns:
        (batch, L, d).
    """
    variant = _variant(x)
    if variant is None:
        return convolve_in_torch(x, weight, bias)
    return torch.ops.spinemamba.convolve(x, weight.t().contiguous(), bias, variant)


def gate(x: Tensor, z: Tensor) -> Tensor:
    """Return x SiLU(z); all (batch, L, d)."""
    variant = _variant(x)
    if variant is None:
        return x * silu(z)
    return torch.ops.spinemamba.gate(x, z, variant)


def convolve_in_torch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the same as `convolve`, in torch and with gradients."""
    # Shifted multiply-adds on channels-last tokens avoid transposing the tensor.
    taps, length = weight.shape[1], x.shape[1]
    padded = functional.pad(x, (0, 0, taps - 1, 0))  # (batch, L + taps - 1, d)
    y = torch.addcmul(bias, padded[:, :length], weight[:, 0])
    for k in range(1, taps):
        y.addcmul_(padded[:, k : k + length], weight[:, k])
    return silu(y)


def silu(x: Tensor) -> Tensor:
    """Return SiLU of a tensor. Overwrites the tensor if no gradient is required."""
    return functional.silu(x, inplace=not torch.is_grad_enabled())


def _variant(x: Tensor) -> str | None:
    """Return the variant of the C++ library to use; None to compute with torch."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
        return None
    name = choose_backend("cpu")
    return name.removeprefix(NATIVE) if name.startswith(NATIVE) else None


@torch.library.impl("spinemamba::convolve", "cpu")
def _convolve(x: Tensor, weight: Tensor, bias: Tensor, variant: str) -> Tensor:
    x, y = dense_rows(x), torch.empty(x.shape)
    operands = _pass(x, y)
    operands.set(taps=weight.shape[0], weight=weight, bias=bias)
    native_library.library().convolve(operands, variant)
    return y


@torch.library.impl("spinemamba::gate", "cpu")
def _gate(x: Tensor, z: Tensor, variant: str) -> Tensor:
    x, z, y = dense_rows(x), dense_rows(z), torch.empty(x.shape)
    operands = _pass(x, y)
    operands.set(gate=z)
    native_library.library().gate(operands, variant)
    return y


@torch.library.register_fake("spinemamba::convolve")
@torch.library.register_fake("spinemamba::gate")
def _(x, *_):
    return x.new_empty(x.shape)


def _pass(x: Tensor, y: Tensor) -> Pass:
    operands = Pass()
    batch, length, channels = x.shape
    operands.set(batch=batch, length=length, channels=channels, threads=torch.get_num_threads())
    operands.set(x=x, y=y)
    return operands
