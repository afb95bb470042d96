"""What stands before and after the scans in a layer, each in one pass over memory.

Torch needs half a dozen passes for them, which take as long as a scan. The scan's C++ library does
each in one where it is in use and no gradient is wanted; everywhere else torch does the same.

Symbols: L tokens, d channels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.selective_scan import native_library
from spinemamba.selective_scan.dispatch import NATIVE, choose_backend
from spinemamba.selective_scan.native_library import Pass

torch.library.define(
    "spinemamba::convolve", "(Tensor x, Tensor weight, Tensor bias, str variant) -> Tensor"
)
torch.library.define("spinemamba::gate", "(Tensor x, Tensor gate, str variant) -> Tensor")


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return SiLU of a causal depthwise convolution along the tokens.

    Args:
        x: (batch, L, d).
        weight: (d, taps); the last tap is for the token itself.
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
    """Do the same as `convolve`: its readable twin, which knows gradients."""
    # Shifted multiply-adds on channels-last tokens: no transposition of the tensor.
    taps, length = weight.shape[1], x.shape[1]
    padded = functional.pad(x, (0, 0, taps - 1, 0))  # (batch, L + taps - 1, d)
    y = torch.addcmul(bias, padded[:, :length], weight[:, 0])
    for k in range(1, taps):
        y.addcmul_(padded[:, k : k + length], weight[:, k])
    return silu(y)


def silu(x: Tensor) -> Tensor:
    """Return SiLU of a tensor that nobody needs any more, in its place if no gradient is wanted."""
    return functional.silu(x, inplace=not torch.is_grad_enabled())


def _variant(x: Tensor) -> str | None:
    """Return which variant of the library is to do the work; None leaves it to torch."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
        return None
    name = choose_backend("cpu")
    return name.removeprefix(NATIVE) if name.startswith(NATIVE) else None


@torch.library.impl("spinemamba::convolve", "cpu")
def _convolve(x: Tensor, weight: Tensor, bias: Tensor, variant: str) -> Tensor:
    x, y = _dense_rows(x), torch.empty(x.shape)
    one = _pass(x, y)
    one.take(taps=weight.shape[0], weight=weight, bias=bias)
    native_library.library().convolve(one, variant)
    return y


@torch.library.impl("spinemamba::gate", "cpu")
def _gate(x: Tensor, z: Tensor, variant: str) -> Tensor:
    x, z, y = _dense_rows(x), _dense_rows(z), torch.empty(x.shape)
    one = _pass(x, y)
    one.take(gate=z)
    native_library.library().gate(one, variant)
    return y


@torch.library.register_fake("spinemamba::convolve")
@torch.library.register_fake("spinemamba::gate")
def _(x, *_):
    return x.new_empty(x.shape)


def _dense_rows(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _pass(x: Tensor, y: Tensor) -> Pass:
    one = Pass()
    batch, length, channels = x.shape
    one.take(batch=batch, length=length, channels=channels, threads=torch.get_num_threads())
    one.take(x=x, y=y)
    return one
