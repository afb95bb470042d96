"""Cut a mask that holds vertebrae, where a person has put a seed into each.

Two ways lead there. Through thick bone every voxel is nearest to the seed of its own body: right
where facets touch by thin bridges. Where they are fused, neighbours part along a surface that is
much the same in all people (`partition`). Whichever cuts through less bone is taken.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.graph import MCP_Geometric

from spinemamba.imaging.orientation import canonical, reorient_back
from spinemamba.imaging.volume import Volume
from spinemamba.instances.partition import Hints, divide

SEED_MM = 5.0
"""Radius of a seed: most of a body's core, so that a click need not be exact."""

LEAST_DEPTH_MM = 0.5

SEARCH_MM = 1.6
"""Finer grids are searched at about this step; the cut is as exact as the facets are wide."""

LEAST_APART_MM = 8.0
"""Bodies that are closer than this are no neighbours in a spine, and have no usual surface."""


def split_by_seeds(inside: Volume, seeds_lps_mm: np.ndarray) -> np.ndarray:
    """Divide a mask among seeds.

    Args:
        inside: The mask, bool, in any orientation.
        seeds_lps_mm: Place of each seed, (seeds, 3), from head to tail.

    Returns:
        1 for voxels of the first seed and so on, 0 outside the mask, int32. A seed whose every
        voxel is nearer to another gets none.
    """
    upright, turned = canonical(inside)
    seeds = upright.geometry.to_index_zyx(np.asarray(seeds_lps_mm))
    return reorient_back(_split(upright.array, seeds, upright.spacing_mm), turned).array


def _split(
    inside: np.ndarray, seeds_zyx: np.ndarray, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Divide a mask in canonical orientation."""
    steps = [max(1, round(SEARCH_MM / s)) for s in spacing_mm]
    small = inside[:: steps[0], :: steps[1], :: steps[2]]
    if not small.any():  # too thin for the coarse search
        steps, small = [1, 1, 1], inside
    z_mm, y_mm, x_mm = (s * n for s, n in zip(spacing_mm, steps, strict=True))
    spread = _divided(small, seeds_zyx / steps, (z_mm, y_mm, x_mm))
    for axis, step in enumerate(steps):
        spread = np.repeat(spread, step, axis=axis)
    spread = spread[: inside.shape[0], : inside.shape[1], : inside.shape[2]]
    whole = np.where(inside, spread, 0)
    missing = inside & (whole == 0)
    if missing.any():
        nearest = ndimage.distance_transform_edt(
            whole == 0, spacing_mm, return_distances=False, return_indices=True
        )
        whole[missing] = whole[tuple(axis[missing] for axis in nearest)]
    return whole


def _divided(
    small: np.ndarray, seeds_zyx: np.ndarray, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Return the better one of two ways to divide a mask, int32; 0 where no seed leads."""
    seeds = _balls(small, seeds_zyx, spacing_mm)
    by_depth = _nearest(small, seeds, spacing_mm, len(seeds_zyx))
    gaps_mm = np.linalg.norm(np.diff(seeds_zyx * spacing_mm, axis=0), axis=1)
    all_there = len(np.unique(seeds[seeds > 0])) == len(seeds_zyx)
    if not all_there or gaps_mm.min() < LEAST_APART_MM:
        return by_depth
    nothing_known = Hints(np.zeros(small.shape, np.float32), None)
    by_surface = divide(seeds, small, nothing_known, spacing_mm)
    if cut_mm2(by_surface, spacing_mm) < cut_mm2(by_depth, spacing_mm):
        return by_surface
    return by_depth


def cut_mm2(parts: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Return the area in which different parts touch, by the faces of their voxels."""
    area_mm2 = 0.0
    for axis, step_mm in enumerate(spacing_mm):
        turned = np.moveaxis(parts, axis, 0)
        one, next_one = turned[:-1], turned[1:]
        faces = int(((one > 0) & (next_one > 0) & (one != next_one)).sum())
        area_mm2 += faces * float(np.prod(spacing_mm)) / step_mm
    return area_mm2


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


def _balls(small: np.ndarray, seeds_zyx: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Return seeds as balls inside the mask; where two meet, the nearer one has the voxel."""
    at = np.argwhere(small)
    gaps = ((at[:, None] - seeds_zyx[None]) * np.asarray(spacing_mm)) ** 2
    distance_mm = np.sqrt(gaps.sum(axis=-1))
    seeds = np.zeros(small.shape, np.int32)
    own = distance_mm.argmin(axis=1)
    radius = np.maximum(SEED_MM, distance_mm.min(axis=0))
    hit = distance_mm[np.arange(len(at)), own] <= radius[own]
    seeds[tuple(at[hit].T)] = own[hit] + 1
    return seeds
