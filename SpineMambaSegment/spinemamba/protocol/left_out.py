"""Bone that a run has found, but left out of its labels. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from spinemamba.common.json_schema import Limits

LOOSE, NEIGHBOUR = "loose_pieces", "hidden_neighbour"
"""Reasons: small loose pieces; bone of a neighbour whose body the image does not show."""

FLAGS = {LOOSE: "loose_pieces_left_out", NEIGHBOUR: "neighbour_left_out"}
"""Quality flag of each reason."""


@dataclass(frozen=True)
class LeftOutBone:
    """Bone beside one vertebra, which can be restored from its voxels.

    Attributes:
        instance: Number of the vertebra that it would belong to otherwise.
        reason: `LOOSE` or `NEIGHBOUR`.
        pieces: Number of pieces that share no face of a voxel.
        volume_ml: Volume of all pieces.
        runs: First index and length, alternately, of each run of voxels in the flat label array,
            whose axes are z, y, x of the input.
    """

    instance: int
    reason: Annotated[str, Limits(choices=(LOOSE, NEIGHBOUR))]
    pieces: int
    volume_ml: float
    runs: tuple[int, ...]

    def spans(self) -> list[tuple[int, int]]:
        """Return first and last-plus-one index of each run."""
        return [(a, a + n) for a, n in zip(self.runs[::2], self.runs[1::2], strict=True)]


def runs_of(indices: Sequence[int]) -> tuple[int, ...]:
    """Return the runs of ascending flat indices, as in `LeftOutBone.runs`."""
    if not indices:
        return ()
    breaks = [k for k, (a, b) in enumerate(pairwise(indices), start=1) if b != a + 1]
    bounds = [0, *breaks, len(indices)]
    return tuple(n for a, b in pairwise(bounds) for n in (indices[a], b - a))
