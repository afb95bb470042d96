"""Level solver: the most likely level of every instance, from head to tail.

A hidden Markov model along the ordered instances (`model`). A state is the level of the instance,
or "not a vertebra", or two levels merged in one instance. Emissions are level probabilities and
volumes (`emissions`). Transitions are derived from statistics of the distances between vertebrae
(`transitions`). They penalise 11 or 13 thoracic and 4 or 6 lumbar vertebrae, missed vertebrae, and
instances that are not vertebrae. The body size of the patient, and a common shift of all level
probabilities by one level, are latent hypotheses, which are summed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spinemamba.common.errors import UserError
from spinemamba.instances.find import Instance
from spinemamba.levels.model import (
    ABOVE_FIRST,
    MERGED,
    NOT_VERTEBRA,
    SINGLE,
    LevelOptions,
    N,
    Path,
    SpineModel,
)
from spinemamba.levels.transitions import INDEX, NAMES, USUAL
from spinemamba.protocol.level_doubt import Doubt, grade_labelings


@dataclass(frozen=True)
class Labeling:
    """One labeling: a level for each instance.

    Attributes:
        names: Level of each instance, None if it is not a vertebra.
        posterior: Posterior probability of the labeling.
    """

    names: tuple[str | None, ...]
    posterior: float


@dataclass(frozen=True)
class LevelSolution:
    """Result of the level solver.

    Attributes:
        best: The k most likely labelings, most likely first.
        posteriors: Posterior probability of the level of each instance in ``best[0]``.
        marginals: Posterior probability of each of `NAMES` for each instance, (instances, 27).
            Two merged vertebrae count as the upper one.
        doubles: Posterior probability that an instance is two merged vertebrae.
        doubt: Grade of doubt of the most likely labeling; its alternatives are the others, and a
            shift of all levels by one.
        body_size: Distances between the vertebrae relative to the mean of adults.
    """

    best: tuple[Labeling, ...]
    posteriors: tuple[float, ...]
    marginals: np.ndarray
    doubles: tuple[float, ...]
    doubt: Doubt
    body_size: float = 1.0

    @property
    def ambiguous(self) -> bool:
        """Whether the levels are in doubt, in any grade."""
        return self.doubt != "none"


def assign_levels(
    items: tuple[Instance, ...],
    pins: Mapping[int, str] | None = None,
    k: int = 5,
    options: LevelOptions | None = None,
) -> LevelSolution:
    """Find the most likely levels of the instances.

    Args:
        items: Instances from top to bottom.
        pins: Fixed levels by instance number.
        k: Number of labelings to return.
        options: Weights.

    Raises:
        UserError: If the pinned levels contradict each other or the order of the instances.
    """
    options, pins = options or LevelOptions(), pins or {}
    if not items:
        return LevelSolution((), (), np.zeros((0, N)), (), "none")
    model = SpineModel(items, pins, options)
    paths = model.ranked(k)
    names = [_name(state) for state in paths[0][0]]
    if any(name != pins.get(item.id, name) for name, item in zip(names, items, strict=True)):
        levels = ", ".join(f"{name} for vertebra {number}" for number, name in pins.items())
        raise UserError(f"No spine can have these levels: {levels}.", "Remove one of the pins.")
    marginals = model.posterior[:, SINGLE] + model.posterior[:, MERGED]
    posteriors = tuple(
        float(
            marginals[i, INDEX[name]]
            if name
            else model.posterior[i, NOT_VERTEBRA].sum() + model.posterior[i, ABOVE_FIRST]
        )
        for i, name in enumerate(names)
    )
    shifted = max((model.posterior_of(path) for path in _shifts(paths[0][0])), default=0.0)
    best = tuple(Labeling(tuple(map(_name, path)), posterior) for path, posterior in paths[:k])
    return LevelSolution(
        best,
        posteriors,
        marginals,
        tuple(map(float, model.posterior[:, MERGED].sum(axis=1))),
        grade_labelings(best, shifted),
        model.body_size,
    )


def _name(state: int) -> str | None:
    return None if N <= state < 2 * N or state == ABOVE_FIRST else NAMES[state % N]


def _shifts(path: Path) -> list[Path]:
    """Return the path with all levels shifted up and down by one, as far as such levels exist."""
    shifted = [_shifted(path, by) for by in (-1, 1)]
    return [tuple(states) for states in shifted if None not in states]


def _shifted(path: Path, by: int) -> list[int | None]:
    return [state if state == ABOVE_FIRST else _neighbour(state, by) for state in path]


def _neighbour(state: int, by: int) -> int | None:
    """Return the state of the next usual level up or down; None for T13, L6 and at the ends."""
    name = NAMES[state % N]
    position = USUAL.index(name) + by if name in USUAL else -1
    return INDEX[USUAL[position]] + N * (state // N) if 0 <= position < len(USUAL) else None
