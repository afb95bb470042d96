"""How exact every scan has to be: about as exact as the readable loop in single precision."""

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

LOOP_ERRORS, FLOOR = 3.0, 1e-7
"""A scan may be off by this many errors of the loop, and by this much.

The loop rounds the product of step and rate, the exponential, and two results per token. A fast
scan rounds as often, but other numbers: a rate times log2(e), another exponential, sums in another
order. Each of these is an error of the size of the loop's own; two of them are common, and three
leave room for chance. The floor, less than the distance from 1 to the next float, is for inputs on
which the loop happens to round nothing.
"""


@dataclass(frozen=True)
class Case:
    """Inputs of a scan.

    Attributes:
        size: Tokens L, channels d and states n.
        largest_step: Of all tokens and channels.
        steps: "random" ones differ from token to token; "constant" ones, each channel's own, make
            the same error in the decays at every token, so that errors add up.
        rates: "any" from 0.1 to 16; "slow" where most states outlast the sequence; "tied" multiples
            of one rate per channel, from those that hardly fade to those that fade at once;
            "tied slow" ones where the first state outlasts the sequence.
    """

    size: tuple[int, int, int]
    largest_step: float
    steps: str
    rates: str

    def __str__(self) -> str:
        """Return what a test is named by."""
        size = "x".join(map(str, self.size))
        return f"{size}-step {self.largest_step:g} {self.steps}-{self.rates}"

    def tensors(self) -> list[Tensor]:
        """Return u, delta, A, B, C and D of two batches; gradients are wanted."""
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
    # Last, or they would not be tied in every bit, which is what the library asks for.
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


def relative_errors(found: list[Tensor], exact: list[Tensor]) -> list[float]:
    """Return the root mean square error of each, over that of the exact one."""
    pairs = zip(found, exact, strict=True)
    return [float((a.double() - b).norm() / b.double().norm()) for a, b in pairs]


def values_and_gradients(scan: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """Return what a scan of tensors gives, and the gradients of a weighted sum of it."""
    y = scan(*tensors)
    return [y.detach(), *torch.autograd.grad((y * weight_of(y)).sum(), tensors)]


def weight_of(y: Tensor) -> Tensor:
    """Return the weight of each output in the sum whose gradients are compared."""
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)


@dataclass(frozen=True)
class Bound:
    """Exact values and gradients, and how far off those of the loop in single precision are."""

    exact: list[Tensor]
    loop_errors: list[float]

    @classmethod
    def of(cls, loop: Callable[..., Tensor], tensors: list[Tensor]) -> Bound:
        """Run the loop in double and in single precision."""
        exact = values_and_gradients(loop, [x.detach().double().requires_grad_() for x in tensors])
        return cls(exact, relative_errors(values_and_gradients(loop, tensors), exact))

    def used(self, found: list[Tensor]) -> list[float]:
        """Return the errors of values, and of gradients if given, as parts of what they may be."""
        given = len(found)
        errors = relative_errors(found, self.exact[:given]), self.loop_errors[:given]
        return [error / (LOOP_ERRORS * loop + FLOOR) for error, loop in zip(*errors, strict=True)]

    def check(self, found: list[Tensor]) -> None:
        """Assert that nothing is further off than it may be."""
        assert max(self.used(found)) <= 1, [f"{part:.2f}" for part in self.used(found)]


@cache
def bound_of(case: Case) -> Bound:
    """Return the bound for a case; every scan is held to the same."""
    return Bound.of(scan_reference, case.tensors())


def assert_as_exact_as_the_loop(scan: Scan, case: Case) -> None:
    """Values and gradients are within the bound."""
    bound_of(case).check(values_and_gradients(scan, case.tensors()))
