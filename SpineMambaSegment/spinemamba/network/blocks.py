"""Convolutions, linear maps, residual blocks, and folding of voxels into channels."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d` that always uses the oneDNN kernel on a CPU.

    Torch uses a slower kernel if the product of channels, slices and rows is below 20480, as in
    most layers of the bundled model, whose convolutions then take twice as long. A single kernel
    also makes the result independent of the size and the number of threads.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, Cin, D, H, W) to (B, Cout, D', H', W')."""
        if not _uses_onednn(x):
            return super().forward(x)
        return torch.mkldnn_convolution(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )


class Linear(nn.Linear):
    """`torch.nn.Linear` that uses the oneDNN kernel on a CPU if no gradient is required.

    Torch uses MKL, which is half as fast on AMD processors. The operator is the one emitted by the
    compiler of torch. It has no gradients, and builds of torch without oneDNN lack it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the same as `torch.nn.functional.linear`, with the fastest kernel; see `Linear`."""
    usable = not torch.is_grad_enabled() and _uses_onednn(x)
    if not usable or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return functional.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def _uses_onednn(x: Tensor) -> bool:
    """Return True if oneDNN can process a tensor: float32 on a CPU, without autocast.

    The operators cannot be traced; the compiler of torch selects kernels itself.
    """
    if torch.compiler.is_compiling():
        return False
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    return torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled


class ResBlock(nn.Module):
    """Two 3x3x3 convolutions with a shortcut, as in residual-encoder U-Nets.

    It has InstanceNorm, because BatchNorm is unstable with batches of one or two patches.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1):
        super().__init__()
        self.conv1 = Conv3d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.InstanceNorm3d(channels_out, affine=True)
        self.conv2 = Conv3d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.InstanceNorm3d(channels_out, affine=True)
        self.act = nn.LeakyReLU(0.01)
        self.shortcut = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.AvgPool3d(stride) if stride != 1 else nn.Identity(),
                Conv3d(channels_in, channels_out, 1, bias=False),
                nn.InstanceNorm3d(channels_out, affine=True),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, Cin, D, H, W) to (B, Cout, D, H, W) / stride."""
        y = self.act(self.norm1(self.conv1(x)))  # (B, Cout, D', H', W')
        y = self.norm2(self.conv2(y))
        return self.act(y + self.shortcut(x))


def fold(x: Tensor, stride: int) -> Tensor:
    """Move blocks of stride^3 voxels into channels: (B, C, sD, sH, sW) to (B, C s^3, D, H, W)."""
    if stride == 1:
        return x
    b, c, d, h, w = x.shape
    s = stride
    x = x.reshape(b, c, d // s, s, h // s, s, w // s, s)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, c * s**3, d // s, h // s, w // s)


def unfold(x: Tensor, stride: int) -> Tensor:
    """Inverse of `fold`: (B, C s^3, D, H, W) to (B, C, sD, sH, sW)."""
    if stride == 1:
        return x
    b, c, d, h, w = x.shape
    s = stride
    x = x.reshape(b, c // s**3, s, s, s, d, h, w)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, c // s**3, s * d, s * h, s * w)


def normal_parameter(*shape: int) -> nn.Parameter:
    """Return a parameter initialised from N(0, 1)."""
    return nn.Parameter(torch.randn(*shape))


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context that disables autocast to half precision on a device.

    Scans and sums over all voxels overflow in half precision; U-Mamba and VMamba report NaN.
    """
    available = torch.amp.is_autocast_available(device.type)  # False on the device "meta"
    return torch.autocast(device.type, enabled=False) if available else nullcontext()
