"""Error bound of every scan: a few errors of the reference in single precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.selective_scan.grid import Scan
from spinemamba.selective_scan.reference import scan_reference

REFERENCE_ERRORS, MIN_ERROR = 3.0, 1e-7
"""Allowed error: this many errors of the reference, plus this absolute error.

The reference rounds the product of step size and rate, the exponential, and two results per token.
A fast scan rounds as often, but other numbers: a rate times log2(e), another exponential, sums in
another order. Each of these errors has the size of the error of the reference. Two are common, and
three leave a margin. The absolute error, less than the distance from 1 to the next float, is for
inputs on which the reference happens to be exact.
"""


@dataclass(frozen=True)
class Case:
    """Inputs of a scan.

    Attributes:
        size: Tokens L, channels d and states n.
        largest_step: Largest step size of all tokens and channels.
        steps: "random" step sizes differ between tokens. "constant" ones, one per channel, cause
            the same error in the decays of all tokens, so that errors add up.
        rates: "any" from 0.1 to 16; "slow", most states last longer than the sequence; "tied",
            multiples of one rate per channel, from slow to immediate decay; "tied slow", the
            first state lasts longer than the sequence.
    """

    size: tuple[int, int, int]
    largest_step: float
    steps: str
    rates: str

    def __str__(self) -> str:
        """Return the identifier of the case in names of tests."""
        size = "x".join(map(str, self.size))
        return f"{size}-step {self.largest_step:g} {self.steps}-{self.rates}"

    def tensors(self) -> list[Tensor]:
        """Return u, delta, A, B, C and D of two batches, all of which require gradients."""
        generator = torch.Generator().manual_seed(sum(self.size))
        length, d, n = self.size

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        delta = functional.softplus(normal(2, length if self.steps == "random" else 1, d))
        delta = (delta * (self.largest_step / delta.max())).repeat(1, length // delta.shape[1], 1)
        rates = -_rates(self.rates, (d, n), float(delta.mean()), generator)
        parts = normal(2, length, d), delta, rates, normal(2, length, n), normal(2, length, n)
        return [x.contiguous().requires_grad_() for x in (*parts, normal(d))]


def _rates(
    kind: str, shape: tuple[int, int], usual_step: float, generator: torch.Generator
) -> Tensor:
    if kind == "any":
        return torch.rand(shape, generator=generator) * 16 + 0.1
    if kind == "slow":
        return (torch.rand(shape, generator=generator) ** 4 + 1e-5) / usual_step
    d, n = shape
    base = torch.logspace(-5, 1, d) if kind == "tied" else torch.linspace(3e-5, 0.03, d)
    # Multiply last: the library requires rates that are tied in every bit.
    return (base / usual_step)[:, None] * torch.arange(1, n + 1)


SIZES = ((100, 40, 8), (150, 24, 16), (90, 20, 29), (700, 20, 16), (60, 35, 1))
CASES = [
    *(
        Case(SIZES[1], *rest)
        for rest in product((0.02, 1.0, 16.0), ("random", "constant"), ("any",))
    ),
    *(Case(size, 4.0, "random", rates) for size in SIZES for rates in ("any", "slow", "tied")),
    *(Case(size, 0.1, "constant", "tied") for size in SIZES),
    Case(SIZES[1], 16.0, "random", "tied"),
    *(Case(size, 0.02, "random", "tied slow") for size in SIZES),
    Case(SIZES[3], 16.0, "random", "tied slow"),
    Case(SIZES[3], 16.0, "constant", "slow"),
]


def relative_errors(tensors: list[Tensor], exact: list[Tensor]) -> list[float]:
    """Return the root mean square error of each tensor, relative to that of the exact one."""
    pairs = zip(tensors, exact, strict=True)
    return [float((a.double() - b).norm() / b.double().norm()) for a, b in pairs]


def values_and_gradients(scan: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """Return the output of a scan, and the gradients of a weighted sum of the output."""
    y = scan(*tensors)
    return [y.detach(), *torch.autograd.grad((y * weight_of(y)).sum(), tensors)]


def weight_of(y: Tensor) -> Tensor:
    """Return the weight of each output in the sum whose gradients are compared."""
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)


@dataclass(frozen=True)
class Bound:
    """Exact values and gradients, and their errors in the reference in single precision."""

    exact: list[Tensor]
    reference_errors: list[float]

    @classmethod
    def of(cls, reference: Callable[..., Tensor], tensors: list[Tensor]) -> Bound:
        """Run the reference in double and in single precision."""
        exact = values_and_gradients(
            reference, [x.detach().double().requires_grad_() for x in tensors]
        )
        return cls(exact, relative_errors(values_and_gradients(reference, tensors), exact))

    def used(self, outputs: list[Tensor]) -> list[float]:
        """Return errors relative to the bound: of values, then of gradients if given."""
        count = len(outputs)
        errors = relative_errors(outputs, self.exact[:count])
        limits = [REFERENCE_ERRORS * error + MIN_ERROR for error in self.reference_errors[:count]]
        return [error / limit for error, limit in zip(errors, limits, strict=True)]

    def check(self, outputs: list[Tensor]) -> None:
        """Assert that all errors are within the bound."""
        assert max(self.used(outputs)) <= 1, [f"{part:.2f}" for part in self.used(outputs)]


@cache
def bound_of(case: Case) -> Bound:
    """Return the bound of a case, which is the same for every scan."""
    return Bound.of(scan_reference, case.tensors())


def assert_as_accurate_as_reference(scan: Scan, case: Case) -> None:
    """Check that values and gradients of a scan are within the bound."""
    bound_of(case).check(values_and_gradients(scan, case.tensors()))
