"""How one vertebra follows another: which level is next, and how far away.

A route leads from a level to one further down, over none or some vertebrae that were not found.
Its probability and its length in millimetres come from `level_priors`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields
from functools import cache

import numpy as np

from spinemamba.anatomy.labels import LABELS
from spinemamba.anatomy.statistics import ANY_STEP_MM, STEP_MM, STEP_SHARE
from spinemamba.instances.find import Instance

NAMES: tuple[str, ...] = tuple(label.name for label in LABELS if label.name != "Coccyx")
"""Levels that a solution may use, from head to tail."""

INDEX = {name: k for k, name in enumerate(NAMES)}
RARE = ("T13", "L6")
USUAL = tuple(name for name in NAMES if name not in RARE)


@dataclass(frozen=True)
class Route:
    """One way from a level to another.

    Attributes:
        share: Probability of this way at the upper level.
        mean_mm: Usual distance of the centres; NaN where nothing is known.
        spread_mm: Standard deviation of the distance.
        missed: How many vertebrae it leaves out.
    """

    share: float
    mean_mm: float
    spread_mm: float
    missed: int


@dataclass(frozen=True)
class TransitionOptions:
    """Weights, each with its reason.

    Attributes:
        missed: How often a vertebra between two others was not found.
        most_missed: More vertebrae than this are never missed in a row.
        spread: The measured spread of distances times this: centres of whole vertebrae lie
            less evenly than annotated centres of bodies.
        outlier: How often a distance is larger for a reason that is not in the statistics.
        too_near: How often it is smaller: two bodies cannot be in one place.
    """

    missed: float = 0.02
    most_missed: int = 3
    spread: float = 1.5
    outlier: float = 0.005
    too_near: float = 0.001


Routes = dict[tuple[str, str], list[Route]]


def routes(most_missed: int) -> Routes:
    """Return the routes between all pairs of levels that miss at most so many vertebrae."""
    single: Routes = {}
    for upper, lower in [*itertools.pairwise(USUAL), ("T13", "L1"), ("L6", "Sacrum")]:
        unusual = sum(share for (first, _), share in STEP_SHARE.items() if first == upper)
        single[upper, lower] = [_single(upper, lower, 1 - unusual)]
    for (upper, lower), share in STEP_SHARE.items():
        single[upper, lower] = [_single(upper, lower, share)]
    found = {pair: list(ways) for pair, ways in single.items()}
    last = single
    for _ in range(most_missed):
        longer: Routes = {}
        for ((a, b), ways), ((c, d), more) in itertools.product(last.items(), single.items()):
            if b == c:
                longer.setdefault((a, d), []).extend(_join(x, y) for x in ways for y in more)
        for pair, ways in longer.items():
            found.setdefault(pair, []).extend(ways)
        last = longer
    return found


def _single(upper: str, lower: str, share: float) -> Route:
    mean_mm, spread_mm = STEP_MM.get((upper, lower), (np.nan, np.nan))
    return Route(share, mean_mm, spread_mm, 0)


def _join(a: Route, b: Route) -> Route:
    return Route(
        a.share * b.share,
        a.mean_mm + b.mean_mm,
        float(np.hypot(a.spread_mm, b.spread_mm)),
        a.missed + b.missed + 1,
    )


@dataclass(frozen=True)
class RouteList:
    """All routes one after the other, those between the same two levels together.

    Attributes:
        upper: Number of the level that each leads from, (routes,).
        lower: Number of the level that each leads to, (routes,).
        share: As in `Route`, (routes,); so are the next three.
        mean_mm: (routes,).
        spread_mm: (routes,).
        missed: (routes,).
        first: Where the routes of each pair of levels begin, (pairs,).
    """

    upper: np.ndarray
    lower: np.ndarray
    share: np.ndarray
    mean_mm: np.ndarray
    spread_mm: np.ndarray
    missed: np.ndarray
    first: np.ndarray


@cache
def route_list(most_missed: int) -> RouteList:
    """Return `routes` as arrays; kept, because making them takes longer than solving a chain."""
    ways = routes(most_missed)
    every = [way for found in ways.values() for way in found]
    pairs = [(INDEX[a], INDEX[b]) for (a, b), found in ways.items() for _ in found]
    upper, lower = np.array(pairs).T
    values = [[getattr(w, f.name) for w in every] for f in fields(Route)]
    counts = [len(found) for found in ways.values()]
    return RouteList(upper, lower, *map(np.array, values), np.cumsum([0, *counts[:-1]]))


def distance_mm(a: Instance, b: Instance) -> float:
    """Return the distance of two centres; NaN where it says nothing of the levels.

    The centre of a vertebra that the image cuts is not its own, and a sacrum's lies anywhere.
    """
    if a.is_sacrum or b.is_sacrum or a.cut_sides or b.cut_sides:
        return float("nan")
    return float(np.linalg.norm(np.subtract(a.centroid_lps_mm, b.centroid_lps_mm)))


def transition_tables(
    gaps_mm: np.ndarray,
    sizes: np.ndarray,
    options: TransitionOptions,
    *,
    above_mm: np.ndarray | float = 0.0,
    below_mm: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Return the probability of each level below each level, (sizes, gaps, 27, 27).

    Distances count relative to a broad distribution that stands for any pair, so that routes
    without statistics are neither favoured nor ruled out.

    Args:
        gaps_mm: Distances of the centres (gaps,); NaN if one says nothing.
        sizes: Sizes of the patient relative to the statistics (sizes,).
        options: Weights.
        above_mm: How much further up the upper centre lies than that of its level, (27,).
        below_mm: How much further down the lower centre lies than that of its level, (27,).
    """
    ways = route_list(options.most_missed)
    more_mm = np.broadcast_to(above_mm, len(NAMES))[ways.upper]
    more_mm = more_mm + np.broadcast_to(below_mm, len(NAMES))[ways.lower]
    share = ways.share * options.missed**ways.missed * (1 - options.missed)
    mean_mm = sizes[:, None, None] * (ways.mean_mm + more_mm)
    spread_mm = sizes[:, None, None] * ways.spread_mm * options.spread
    gaps = gaps_mm[None, :, None]
    ratio = _normal(gaps, mean_mm, spread_mm) / _normal(gaps, *ANY_STEP_MM)
    outlier = np.where(gaps < mean_mm, options.too_near, options.outlier)
    ratio = np.where(np.isfinite(gaps + mean_mm), outlier + (1 - outlier) * ratio, 1.0)
    table = np.zeros((len(sizes), len(gaps_mm), len(NAMES), len(NAMES)))
    pairs = (..., ways.upper[ways.first], ways.lower[ways.first])
    table[pairs] = np.add.reduceat(share * ratio, ways.first, axis=-1)
    return table


def _normal(x: np.ndarray, mean: np.ndarray | float, spread: np.ndarray | float) -> np.ndarray:
    return np.exp(-0.5 * ((x - mean) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
