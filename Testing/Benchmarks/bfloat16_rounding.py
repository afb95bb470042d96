"""Emulation of bfloat16 on processors without it.

Inputs and results of every convolution and matrix product that autocast would compute in bfloat16
are rounded to bfloat16; sums are in float32, as in hardware with bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from spinemamba.imaging.read import read_volume
from spinemamba.imaging.volume import Volume
from spinemamba.inference.model import load_model
from spinemamba.inference.precision import BFLOAT16, FLOAT32
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.segment import segment

ROUNDED = (
    functional.conv1d,
    functional.conv3d,
    functional.conv_transpose3d,
    functional.linear,
    torch.matmul,
    torch.bmm,
    Tensor.matmul,
    Tensor.__matmul__,
)


class Rounded(TorchFunctionMode):
    """Context in which convolutions and matrix products have the precision of bfloat16."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, rounded if it is in `ROUNDED`."""
        kwargs = kwargs or {}
        # Operations in full precision are outside of autocast.
        if func not in ROUNDED or not torch.is_autocast_enabled("cpu"):
            return func(*args, **kwargs)
        kwargs = {name: _rounded(value) for name, value in kwargs.items()}
        with torch.autocast("cpu", enabled=False):
            return _rounded(func(*map(_rounded, args), **kwargs))


def rounded_labels(image: Path) -> Volume:
    """Return the labels of an image by the default model with emulated bfloat16."""
    exact = load_model(find_model(DEFAULT), precision=FLOAT32)
    coarse, fine = (replace(each, precision=BFLOAT16) for each in (exact.coarse, exact.fine))
    model = replace(exact, coarse=coarse, fine=fine)
    with Rounded():
        return segment(read_volume(image), model).labels


def _rounded(value: Any) -> Any:
    """Return a tensor rounded to bfloat16, as float32; return other values unchanged."""
    real = isinstance(value, Tensor) and value.dtype in (torch.float32, torch.bfloat16)
    return value.bfloat16().float() if real else value
