"""Dice of a segmentation against a reference, as a whole and for each vertebra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.errors import UserError
from spinemamba.labels import BY_VALUE
from spinemamba.orientation import canonical
from spinemamba.volume import Volume

MATCHED_SHARE = 0.1
"""A predicted vertebra lies on the reference if this share of it does."""


@dataclass(frozen=True)
class VertebraScore:
    """One vertebra of the reference.

    Attributes:
        name: Its level.
        found_as: Level of the predicted vertebra that covers it best; None if it was missed.
        dice: Dice with that vertebra whatever its level, in [0, 1]; 0 if it was missed.
    """

    name: str
    found_as: str | None
    dice: float


@dataclass(frozen=True)
class Comparison:
    """A case.

    Attributes:
        bone_dice: All vertebrae against background; NaN if both are empty.
        vertebrae: Each vertebra of the reference, from head to tail.
        beyond: Levels of predicted vertebrae above or below everything that is labelled.
    """

    bone_dice: float
    vertebrae: tuple[VertebraScore, ...]
    beyond: tuple[str, ...]

    @property
    def mean_dice(self) -> float:
        """Mean Dice of the reference's vertebrae after matching; missed ones count as 0."""
        return float(np.mean([v.dice for v in self.vertebrae])) if self.vertebrae else float("nan")

    @property
    def named_right(self) -> int:
        """Number of vertebrae that were found under their own level."""
        return sum(v.found_as == v.name for v in self.vertebrae)


def compare(predicted: Volume, reference: Volume) -> Comparison:
    """Score a segmentation.

    A reference often labels a part of the spine only. A predicted vertebra whose centre lies
    above or below every labelled one, and which touches none, is neither right nor wrong: it is
    listed and left out. Everything else counts, also what lies between labelled vertebrae.

    Args:
        predicted: Label values.
        reference: Label values on the same grid.

    Raises:
        UserError: If the grids differ.
    """
    if not predicted.geometry.matches(reference.geometry):
        raise UserError(
            f"The grids differ: prediction {predicted.geometry.shape}, reference "
            f"{reference.geometry.shape}, or their places.",
            "Compare a segmentation with labels of the same image.",
        )
    found, truth = (canonical(v)[0].array.astype(np.int64) for v in (predicted, reference))
    values = [v for v in BY_VALUE if (truth == v).any()]
    heights = [np.flatnonzero((truth == v).any(axis=(1, 2))).mean() for v in values]
    beyond = [
        v for v in np.unique(found[found > 0]).tolist() if _is_beyond(found == v, truth, heights)
    ]
    counted = (found > 0) & ~np.isin(found, beyond)
    return Comparison(
        dice(counted, truth > 0),
        tuple(_score(v, found, truth) for v in values),
        tuple(BY_VALUE[v].name for v in BY_VALUE if v in beyond),
    )


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Return 2 |A and B| / (|A| + |B|), in [0, 1]; NaN if both masks are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else float("nan")


def _is_beyond(mask: np.ndarray, truth: np.ndarray, heights: list[float]) -> bool:
    if not heights or (mask & (truth > 0)).sum() >= MATCHED_SHARE * mask.sum():
        return False
    height = float(np.argwhere(mask)[:, 0].mean())
    return height > max(heights) or height < min(heights)


def _score(value: int, found: np.ndarray, truth: np.ndarray) -> VertebraScore:
    mask = truth == value
    under = found[mask]
    candidates = np.unique(under[under > 0]).tolist()
    scores = {v: dice(found == v, mask) for v in candidates}
    best = max(scores, key=scores.__getitem__, default=None)
    name = BY_VALUE[value].name
    return VertebraScore(name, BY_VALUE[best].name if best else None, scores.get(best, 0.0))
