"""Scalar random numbers from a generator."""

from __future__ import annotations

import torch


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """Return a number from the uniform distribution between ``low`` and ``high``."""
    return float(torch.rand((), generator=generator)) * (high - low) + low


def chance(share: float, generator: torch.Generator) -> bool:
    """Return True with probability ``share``."""
    return float(torch.rand((), generator=generator)) < share
