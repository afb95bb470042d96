"""Name the vertebrae: the most likely sequence of levels from head to tail.

A semi-Markov model over the ordered instances. A state is the level of the last vertebra, and
whether the present instance is one at all. Steps to the next level are free in the usual way
and cost where a spine has 11 or 13 thoracic or 4 or 6 lumbar vertebrae, where vertebrae were
missed, or where an instance is none (`level_steps`). What the patient's size is, and whether all
evidence is off by one level together, is not known: both are summed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spinemamba.common.errors import UserError
from spinemamba.instances.find import Instance
from spinemamba.levels.emissions import has_anchor
from spinemamba.levels.model import (
    ABOVE_FIRST,
    MERGED,
    NOT_VERTEBRA,
    SINGLE,
    N,
    Path,
    SolverOptions,
    SpineModel,
)
from spinemamba.levels.transitions import INDEX, NAMES, USUAL


@dataclass(frozen=True)
class Labeling:
    """One way to name the instances.

    Attributes:
        names: Level of each instance, None if it is no vertebra.
        posterior: Probability among all ways.
    """

    names: tuple[str | None, ...]
    posterior: float


@dataclass(frozen=True)
class LevelSolution:
    """The names of a spine.

    Attributes:
        best: The k most likely labelings, best first.
        posteriors: For each instance the probability of the level that ``best[0]`` gives it.
        marginals: Probability of each of `NAMES` for each instance, (instances, 27); of two
            vertebrae in one the upper counts.
        doubles: Probability of each instance being two vertebrae.
        ambiguous: Whether a shift by one level is nearly as likely, or the names are uncertain.
    """

    best: tuple[Labeling, ...]
    posteriors: tuple[float, ...]
    marginals: np.ndarray
    doubles: tuple[float, ...]
    ambiguous: bool


def assign_levels(
    items: tuple[Instance, ...],
    pins: Mapping[int, str] | None = None,
    k: int = 5,
    options: SolverOptions | None = None,
) -> LevelSolution:
    """Find the most likely names of the instances.

    Args:
        items: Instances, top to bottom.
        pins: Levels that are certain, by the instance's number.
        k: How many labelings to return.
        options: Weights.

    Raises:
        UserError: If no spine can have the pinned levels.
    """
    options, pins = options or SolverOptions(), pins or {}
    if not items:
        return LevelSolution((), (), np.zeros((0, N)), (), False)
    chain = SpineModel(items, pins, options)
    paths = chain.ranked(k)
    names = [_name(state) for state in paths[0][0]]
    if any(name != pins.get(item.id, name) for name, item in zip(names, items, strict=True)):
        wanted = ", ".join(f"{name} for vertebra {number}" for number, name in pins.items())
        raise UserError(f"No spine can have these levels: {wanted}.", "Remove one of the pins.")
    marginals = chain.posterior[:, SINGLE] + chain.posterior[:, MERGED]
    chosen = tuple(
        float(
            marginals[i, INDEX[name]]
            if name
            else chain.posterior[i, NOT_VERTEBRA].sum() + chain.posterior[i, ABOVE_FIRST]
        )
        for i, name in enumerate(names)
    )
    certain = options.certain if has_anchor(items, pins) else options.certain_alone
    shifted = max((chain.posterior_of(path) for path in _shifts(paths[0][0])), default=0.0)
    return LevelSolution(
        tuple(Labeling(tuple(map(_name, path)), posterior) for path, posterior in paths[:k]),
        chosen,
        marginals,
        tuple(map(float, chain.posterior[:, MERGED].sum(axis=1))),
        shifted >= options.ambiguous_ratio * paths[0][1] or paths[0][1] < certain,
    )


def _name(state: int) -> str | None:
    return None if N <= state < 2 * N or state == ABOVE_FIRST else NAMES[state % N]


def _shifts(path: Path) -> list[Path]:
    """Return a path with every level moved up or down along the usual order, if there is room."""
    moved = [_shifted(path, by) for by in (-1, 1)]
    return [tuple(states) for states in moved if None not in states]


def _shifted(path: Path, by: int) -> list[int | None]:
    return [state if state == ABOVE_FIRST else _neighbour(state, by) for state in path]


def _neighbour(state: int, by: int) -> int | None:
    """Return the state of the next level up or down; None if there is none, or if it is rare."""
    name = NAMES[state % N]
    place = USUAL.index(name) + by if name in USUAL else -1
    return INDEX[USUAL[place]] + N * (state // N) if 0 <= place < len(USUAL) else None
