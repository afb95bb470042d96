"""Single random numbers from a generator."""

from __future__ import annotations

import torch


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """Return a number between two others."""
    return float(torch.rand((), generator=generator)) * (high - low) + low


def chance(share: float, generator: torch.Generator) -> bool:
    """Return True in a share of all draws."""
    return float(torch.rand((), generator=generator)) < share
