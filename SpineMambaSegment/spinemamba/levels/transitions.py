"""Transitions of the level solver: probability of a level below another at a given distance.

A route leads from a level to one further down, and may pass vertebrae that were not detected. Its
probability and its length in millimetres are derived from `spinemamba.anatomy.statistics`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields
from functools import cache

import numpy as np

from spinemamba.anatomy.labels import LABELS, RARE
from spinemamba.anatomy.statistics import ANY_STEP_MM, STEP_MM, STEP_SHARE
from spinemamba.instances.find import Instance

NAMES: tuple[str, ...] = tuple(label.name for label in LABELS if label.name != "Coccyx")
"""Levels of the solver, from head to tail."""

INDEX = {name: k for k, name in enumerate(NAMES)}
USUAL = tuple(name for name in NAMES if name not in RARE)


@dataclass(frozen=True)
class Route:
    """One route from a level to another.

    Attributes:
        share: Probability of the route at the upper level.
        mean_mm: Mean distance of the centres; NaN if there are no statistics.
        spread_mm: Standard deviation of the distance.
        missed: Number of missed vertebrae on the route.
    """

    share: float
    mean_mm: float
    spread_mm: float
    missed: int


@dataclass(frozen=True)
class TransitionOptions:
    """Weights, each with its reason.

    Attributes:
        missed: Probability that a vertebra between two others was not detected.
        most_missed: Largest number of successive missed vertebrae.
        spread: Factor of the standard deviations of distances: centroids of whole vertebrae vary
            more than the annotated centres of bodies.
        outlier: Probability that a distance is larger for reasons not in the statistics.
        too_near: The same for a smaller distance; lower, because bodies cannot overlap.
    """

    missed: float = 0.02
    most_missed: int = 3
    spread: float = 1.5
    outlier: float = 0.005
    too_near: float = 0.001


Routes = dict[tuple[str, str], list[Route]]


def routes(most_missed: int) -> Routes:
    """Return the routes between all pairs of levels with at most so many missed vertebrae."""
    single: Routes = {}
    for upper, lower in [*itertools.pairwise(USUAL), ("T13", "L1"), ("L6", "Sacrum")]:
        unusual = sum(share for (first, _), share in STEP_SHARE.items() if first == upper)
        single[upper, lower] = [_single(upper, lower, 1 - unusual)]
    for (upper, lower), share in STEP_SHARE.items():
        single[upper, lower] = [_single(upper, lower, share)]
    result = {pair: list(parts) for pair, parts in single.items()}
    last = single
    for _ in range(most_missed):
        longer: Routes = {}
        for ((a, b), upper_routes), ((c, d), steps) in itertools.product(
            last.items(), single.items()
        ):
            if b == c:
                longer.setdefault((a, d), []).extend(
                    _join(route, step) for route in upper_routes for step in steps
                )
        for pair, additional in longer.items():
            result.setdefault(pair, []).extend(additional)
        last = longer
    return result


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
class _RouteList:
    """All routes as arrays, sorted by pairs of levels.

    Attributes:
        upper: Index of the upper level of each route, (routes,).
        lower: Index of the lower level of each route, (routes,).
        share: See `Route`, (routes,); as are the next three.
        mean_mm: (routes,).
        spread_mm: (routes,).
        missed: (routes,).
        first: Index of the first route of each pair of levels, (pairs,).
    """

    upper: np.ndarray
    lower: np.ndarray
    share: np.ndarray
    mean_mm: np.ndarray
    spread_mm: np.ndarray
    missed: np.ndarray
    first: np.ndarray


@cache
def _route_list(most_missed: int) -> _RouteList:
    """Return `routes` as arrays; cached, as computing them takes longer than solving a spine."""
    by_pair = routes(most_missed)
    flat = [route for group in by_pair.values() for route in group]
    pairs = [(INDEX[a], INDEX[b]) for (a, b), group in by_pair.items() for _ in group]
    upper, lower = np.array(pairs).T
    values = [[getattr(route, f.name) for route in flat] for f in fields(Route)]
    counts = [len(group) for group in by_pair.values()]
    return _RouteList(upper, lower, *map(np.array, values), np.cumsum([0, *counts[:-1]]))


def distance_mm(a: Instance, b: Instance) -> float:
    """Return the distance of two centroids; NaN if one is truncated or the sacrum.

    The centroid of a truncated vertebra is displaced, and that of the sacrum varies.
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

    Densities of distances are relative to a broad distribution over all pairs, so that routes
    without statistics are neither favoured nor excluded.

    Args:
        gaps_mm: Distances of the centroids, (gaps,); NaN if unknown.
        sizes: Body sizes relative to the statistics, (sizes,).
        options: Weights.
        above_mm: Offset of the upper centroid upwards from the centre of its level, (27,).
        below_mm: Offset of the lower centroid downwards from the centre of its level, (27,).
    """
    all_routes = _route_list(options.most_missed)
    offset_mm = np.broadcast_to(above_mm, len(NAMES))[all_routes.upper]
    offset_mm = offset_mm + np.broadcast_to(below_mm, len(NAMES))[all_routes.lower]
    share = all_routes.share * options.missed**all_routes.missed * (1 - options.missed)
    mean_mm = sizes[:, None, None] * (all_routes.mean_mm + offset_mm)
    spread_mm = sizes[:, None, None] * all_routes.spread_mm * options.spread
    gaps = gaps_mm[None, :, None]
    ratio = _normal(gaps, mean_mm, spread_mm) / _normal(gaps, *ANY_STEP_MM)
    outlier = np.where(gaps < mean_mm, options.too_near, options.outlier)
    ratio = np.where(np.isfinite(gaps + mean_mm), outlier + (1 - outlier) * ratio, 1.0)
    table = np.zeros((len(sizes), len(gaps_mm), len(NAMES), len(NAMES)))
    pairs = (..., all_routes.upper[all_routes.first], all_routes.lower[all_routes.first])
    table[pairs] = np.add.reduceat(share * ratio, all_routes.first, axis=-1)
    return table


def _normal(x: np.ndarray, mean: np.ndarray | float, spread: np.ndarray | float) -> np.ndarray:
    return np.exp(-0.5 * ((x - mean) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
