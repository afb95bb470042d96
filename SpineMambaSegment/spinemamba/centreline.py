"""The order of bodies along the spine, which need not be the order of their heights."""

from __future__ import annotations

import numpy as np


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
    order = np.argsort(-centres_mm[:, 0], kind="stable")
    kept = order
    for _ in range(3):
        line = _smooth(centres_mm[kept])
        along, aside = _project(centres_mm[kept], line)
        keep = aside <= off_line_mm
        kept = kept[keep][np.argsort(along[keep], kind="stable")]
    along, _ = _project(centres_mm[kept], _smooth(centres_mm[kept]))
    groups: list[list[int]] = []
    last = -np.inf
    for core, place in zip(kept.tolist(), along, strict=True):
        if place - last < same_level_mm and groups:
            groups[-1].append(core)
        else:
            groups.append([core])
        last = place
    return groups


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
