"""The last phase of a training: real images as they are, after varied and painted ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spinemamba.training.data.case_store import TrainingCase
from spinemamba.training.data.origin import REAL
from spinemamba.training.loss import LossWeights

_FADE = 0.12
"""Share of the schedule over which the changes to images fade out."""


@dataclass(frozen=True)
class LastPhase:
    """What changes towards the end of a training.

    Painted and distorted images teach what may occur; the surface of bone in real images is learned
    from these. Painted bodies stay in part: they hold most of the ribs, which would be forgotten.

    Attributes:
        start: Share of the schedule at which the phase begins; 1 for none.
        painted: Factor of the sampling weight of cases without a whole real image.
        dice: Factor of the weight of Dice, which enlarges what is unsure.
    """

    start: float = 1.0
    painted: float = 0.5
    dice: float = 0.3

    def strength(self, done: float) -> float:
        """Return the strength of changes to images, from 1 to 0, at a share of the schedule."""
        return min(1.0, max(0.0, 1 - (done - self.start) / _FADE))

    def case_weights(self, weights: Tensor, cases: Sequence[TrainingCase], done: float) -> Tensor:
        """Return the sampling weights of cases at a share of the schedule."""
        if done < self.start:
            return weights
        real = torch.tensor([case.origin.kind in REAL for case in cases])
        return torch.where(real, weights, weights * self.painted)

    def loss_weights(self, weights: LossWeights, done: float) -> LossWeights:
        """Return the weights of the loss at a share of the schedule."""
        return weights if done < self.start else replace(weights, dice=weights.dice * self.dice)


def last_phase(options: LastPhase, cases: Sequence[TrainingCase]) -> LastPhase:
    """Return the last phase of a training: none if there are no real images."""
    return options if any(case.origin.kind in REAL for case in cases) else LastPhase()
