"""Times of one thread and errors of every scan back end, compared with the reference loop.

Times are processor seconds of this process, not wall-clock time, so that other programs on the
same core change them little. Ratios are valid within one run only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from spinemamba.selective_scan.dispatch import BACKENDS, available_backends
from spinemamba.selective_scan.reference import scan_reference

LOOP_TOKENS = 2048
"""Largest number of tokens of the reference loop. Its time is proportional to them, so times are
scaled to longer sequences; its autograd stores every state, which would need gigabytes."""

LARGEST_STEP = 16.0
"""Largest step size in the measurement of errors; trained networks reach 1 to 10."""


@dataclass(frozen=True)
class Size:
    """Tokens L, channels d and states n of a scan."""

    tokens: int
    channels: int
    states: int


@dataclass(frozen=True)
class ScanRow:
    """One back end at one size.

    Attributes:
        backend: Name of the back end.
        size: Size of the scan.
        forward_s: Processor seconds of a forward pass, one thread.
        forward_ratio: Time of the loop divided by that of the back end.
        backward_s: The same for the backward pass.
        backward_ratio: The same for the backward pass, with the autograd of the loop.
        largest_share: Elements of the largest tensor created by either pass, relative to the L d n
            states.
    """

    backend: str
    size: Size
    forward_s: float
    forward_ratio: float
    backward_s: float
    backward_ratio: float
    largest_share: float


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest result."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run an operation and record the size of its results."""
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, Tensor):
                self.elements = max(self.elements, x.numel())
        return out


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set the number of torch's threads while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def least_seconds(
    work: Callable[[], object], repeats: int, clock: Callable[[], float] = time.process_time
) -> float:
    """Return the shortest of several times, because disturbances only make a run longer."""
    times = []
    for _ in range(repeats):
        started = clock()
        work()
        times.append(clock() - started)
    return min(times)


def scan_inputs(size: Size, largest_step: float | None = None) -> list[Tensor]:
    """Return random u, delta, A, B, C, D of a batch of one, similar to those of trained layers.

    The decay rates A are close to the initial ones of Mamba but not tied, because tied rates are
    faster.
    """
    generator = torch.Generator().manual_seed(size.tokens)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    length, d, n = size.tokens, size.channels, size.states
    delta = functional.softplus(normal(1, length, d) - 4.0)
    if largest_step is not None:
        delta *= largest_step / delta.max()
    rates = tied_rates(n) * (1 + 0.1 * torch.rand(d, n, generator=generator))
    u, b, c = normal(1, length, d), normal(1, length, n), normal(1, length, n)
    return [u, delta, rates, b, c, normal(d)]


def tied_rates(states: int) -> Tensor:
    """Return the initial decay rates of Mamba, (n,), which are tied: multiples of one number."""
    return -torch.arange(1.0, states + 1)


def working_backends() -> list[str]:
    """Return the back ends that work on this processor, except the reference loop."""
    states = available_backends("cpu")
    return [name for name, state in states.items() if state == "ok" and name != "reference"]


def measure_scans(sizes: list[Size], repeats: int) -> Iterator[ScanRow]:
    """Yield a row for each size and back end."""
    with threads(1):
        for size in sizes:
            short = Size(min(size.tokens, LOOP_TOKENS), size.channels, size.states)
            scale = size.tokens / short.tokens
            loop = [scale * s for s in _forward_and_backward("reference", short, 2)]
            for name in working_backends():
                forward, backward = _forward_and_backward(name, size, repeats)
                ratios = (loop[0] / forward, loop[1] / backward)
                yield ScanRow(
                    name, size, forward, ratios[0], backward, ratios[1], _largest_share(name, size)
                )


def _forward_and_backward(name: str, size: Size, repeats: int) -> tuple[float, float]:
    scan, inputs = BACKENDS[name], scan_inputs(size)
    with torch.inference_mode():
        scan(*inputs)  # the first run includes the allocation of memory
        forward = least_seconds(lambda: scan(*inputs), repeats)
    leaves = [x.requires_grad_() for x in inputs]
    y = scan(*leaves)
    grad = torch.ones_like(y)

    def backward() -> None:
        torch.autograd.grad(y, leaves, grad, retain_graph=True)

    return forward, least_seconds(backward, max(1, repeats // 2))


def _largest_share(name: str, size: Size) -> float:
    """Return the size of the largest tensor relative to all states, for `LOOP_TOKENS` at most."""
    short = Size(min(size.tokens, LOOP_TOKENS), size.channels, size.states)
    inputs = [x.requires_grad_() for x in scan_inputs(short)]
    with LargestTensor() as largest:
        BACKENDS[name](*inputs).sum().backward()
    return largest.elements / (short.tokens * short.channels * short.states)


@dataclass(frozen=True)
class ErrorRow:
    """Root mean square errors of one back end, relative to double precision."""

    backend: str
    value: float
    gradient: float


@threads(1)
def measure_errors(size: Size) -> list[ErrorRow]:
    """Return the errors of each back end for step sizes up to 16, and last those of the loop."""
    rows = []
    inputs = scan_inputs(size, LARGEST_STEP)
    exact = _value_and_gradients("reference", [x.double() for x in inputs])
    for name in [*working_backends(), "reference"]:
        outputs = _value_and_gradients(name, inputs)
        errors = [
            float((a.double() - b).norm() / b.norm()) for a, b in zip(outputs, exact, strict=True)
        ]
        rows.append(ErrorRow(name, errors[0], max(errors[1:])))
    return rows


def _value_and_gradients(name: str, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    scan = scan_reference if name == "reference" else BACKENDS[name]
    y = scan(*leaves)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    return [y.detach(), *torch.autograd.grad((y * weight).sum(), leaves)]
