"""Cut a mask that holds two vertebrae, where a person has put a seed into each."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.graph import MCP_Geometric

SEED_MM = 5.0
"""Radius of a seed: most of a body's core, so that a click need not be exact."""

LEAST_DEPTH_MM = 0.5

SEARCH_MM = 1.6
"""Finer grids are searched at about this step; the cut is as exact as the facets are wide."""


def split_by_seeds(
    inside: np.ndarray, seeds_kji: np.ndarray, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Divide a mask among seeds: every voxel goes to the seed that is nearest through thick bone.

    Args:
        inside: The mask, bool (k, j, i).
        seeds_kji: Voxel of each seed, (seeds, 3).
        spacing_mm: Voxel size along k, j, i.

    Returns:
        1 for voxels of the first seed and so on, 0 outside the mask, int32. A seed whose every
        voxel is nearer to another gets none.
    """
    steps = [max(1, round(SEARCH_MM / s)) for s in spacing_mm]
    small = inside[:: steps[0], :: steps[1], :: steps[2]]
    if not small.any():  # too thin for the coarse search
        steps, small = [1, 1, 1], inside
    small_mm = tuple(s * n for s, n in zip(spacing_mm, steps, strict=True))
    seeds = _balls(small, np.asarray(seeds_kji) / steps, small_mm)
    divided = _nearest(small, seeds, small_mm, len(seeds_kji))
    whole = np.zeros(inside.shape, np.int32)
    spread = divided
    for axis, step in enumerate(steps):
        spread = np.repeat(spread, step, axis=axis)
    spread = spread[: inside.shape[0], : inside.shape[1], : inside.shape[2]]
    whole[inside] = spread[inside]
    missing = inside & (whole == 0)
    if missing.any():
        nearest = ndimage.distance_transform_edt(
            whole == 0, spacing_mm, return_distances=False, return_indices=True
        )
        whole[missing] = whole[tuple(axis[missing] for axis in nearest)]
    return whole


def _nearest(
    inside: np.ndarray, seeds: np.ndarray, spacing_mm: tuple[float, ...], count: int
) -> np.ndarray:
    """Return which of a number of seeds has the cheapest way to each voxel; 0 where none leads.

    Facets are thin bridges, pedicles are thick: a step costs one over the squared depth of bone.
    """
    depth_mm = ndimage.distance_transform_edt(np.pad(inside, 1), spacing_mm)[1:-1, 1:-1, 1:-1]
    # Negative costs are walls.
    costs = np.where(inside, 1 / np.maximum(depth_mm, LEAST_DEPTH_MM) ** 2, -1.0)
    ways = []
    for number in range(1, count + 1):
        starts = np.argwhere(seeds == number)
        if len(starts):
            search = MCP_Geometric(costs, fully_connected=True, sampling=spacing_mm)
            ways.append(search.find_costs(starts)[0])
        else:
            ways.append(np.full(inside.shape, np.inf))
    cheapest = np.argmin(ways, axis=0) + 1
    return np.where(inside & np.isfinite(np.min(ways, axis=0)), cheapest, 0).astype(np.int32)


def _balls(small: np.ndarray, seeds_kji: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Return seeds as balls inside the mask; where two meet, the nearer one has the voxel."""
    at = np.argwhere(small)
    gaps = ((at[:, None] - seeds_kji[None]) * np.asarray(spacing_mm)) ** 2
    distance_mm = np.sqrt(gaps.sum(axis=-1))
    seeds = np.zeros(small.shape, np.int32)
    own = distance_mm.argmin(axis=1)
    radius = np.maximum(SEED_MM, distance_mm.min(axis=0))
    hit = distance_mm[np.arange(len(at)), own] <= radius[own]
    seeds[tuple(at[hit].T)] = own[hit] + 1
    return seeds
