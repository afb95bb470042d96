"""The order of bodies along the spine, which need not be the order of their heights."""

from __future__ import annotations

import numpy as np

WIDEST_PAIR_MM = 60.0
"""The lateral masses of C1 are not further apart, centre to centre."""


def order_along_spine(
    centres_mm: np.ndarray, same_level_mm: float, off_line_mm: float
) -> list[list[int]]:
    """Group body cores by vertebra, from head to tail.

    Args:
        centres_mm: Centres of the cores along z, y, x; z runs towards the head; (n, 3).
        same_level_mm: Cores closer than this along the spine are one vertebra.
        off_line_mm: Cores further from the centre line are no vertebra.

    Returns:
        Indices of the cores of each vertebra.
    """
    if len(centres_mm) == 0:
        return []
    pairs = _side_by_side(centres_mm, same_level_mm)
    middles = np.array([centres_mm[pair].mean(axis=0) for pair in pairs])
    kept = np.argsort(-middles[:, 0], kind="stable")
    for _ in range(3):
        along, aside = _project(middles[kept], _smooth(middles[kept]))
        keep = aside <= off_line_mm
        kept = kept[keep][np.argsort(along[keep], kind="stable")]
    along, _ = _project(middles[kept], _smooth(middles[kept]))
    groups: list[list[int]] = []
    last = -np.inf
    for pair, place in zip(kept.tolist(), along, strict=True):
        if place - last < same_level_mm and groups:
            groups[-1] += pairs[pair]
        else:
            groups.append(list(pairs[pair]))
        last = place
    return groups


def _side_by_side(centres_mm: np.ndarray, same_level_mm: float) -> list[list[int]]:
    """Join cores that lie left and right of each other at one height; others stay alone."""
    pairs: list[list[int]] = []
    for core, (z, y, x) in enumerate(centres_mm):
        for pair in pairs:
            gap = np.abs(centres_mm[pair].mean(axis=0) - (z, y, x))
            if gap[0] < same_level_mm and gap[1] < gap[2] < WIDEST_PAIR_MM:
                pair.append(core)
                break
        else:
            pairs.append([core])
    return pairs


def _smooth(points: np.ndarray) -> np.ndarray:
    """Return a line through the points: medians of three, then means of three."""
    if len(points) < 4:
        return points
    padded = np.concatenate([points[:1], points, points[-1:]])
    # A single false core must not bend the line: the sideways median leaves it out.
    median = points.copy()
    triples = np.stack([padded[:-2], padded[1:-1], padded[2:]])
    median[:, 1:] = np.median(triples, axis=0)[:, 1:]
    padded = np.concatenate([median[:1], median, median[-1:]])
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def _project(points: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where along a line the points lie, and how far from it, in millimetres.

    Beyond its ends the line goes on straight.
    """
    if len(line) < 2:
        return np.zeros(len(points)), np.zeros(len(points))
    starts, steps = line[:-1], np.diff(line, axis=0)
    lengths = np.maximum(np.linalg.norm(steps, axis=1), 1e-6)
    offsets = points[:, None] - starts[None]  # (points, pieces, 3)
    share = (offsets * steps).sum(axis=-1) / lengths**2
    low = np.where(np.arange(len(steps)) == 0, -np.inf, 0.0)
    high = np.where(np.arange(len(steps)) == len(steps) - 1, np.inf, 1.0)
    share = np.clip(share, low, high)
    aside = np.linalg.norm(offsets - share[..., None] * steps, axis=-1)
    best = aside.argmin(axis=1)
    row = np.arange(len(points))
    before = np.concatenate([[0.0], np.cumsum(lengths)])[best]
    return before + share[row, best] * lengths[best], aside[row, best]
