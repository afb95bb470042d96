"""Split a mask of several vertebrae, given a seed point in each.

Two methods are compared, and the one that cuts less bone is used. Geodesic distances with a high
cost in thin bone assign each voxel to a seed: right if facets touch by thin bridges. If they are
fused, the cut surfaces of `instances.partition` separate the neighbours.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from spinemamba.imaging.orientation import canonical, reorient_back
from spinemamba.imaging.volume import Volume
from spinemamba.instances.geodesic import search_through_bone
from spinemamba.instances.partition import VoxelHints, assign_voxels

_SEED_MM = 5.0
"""Radius of a seed: most of the core of a body, so that the point need not be exact."""

_SEARCH_MM = 1.6
"""Finer grids are subsampled to about this step, which is enough for the width of facet joints."""

_LEAST_APART_MM = 8.0
"""Closer seeds are not in two bodies, so that no cut surface applies."""


def split_by_seeds(inside: Volume, seeds_lps_mm: np.ndarray) -> np.ndarray:
    """Split a mask by seeds.

    Args:
        inside: The mask, bool, in any orientation.
        seeds_lps_mm: Position of each seed, (seeds, 3), from cranial to caudal.

    Returns:
        Number of the seed of each voxel, from 1; 0 outside the mask; int32. A seed may get no
        voxel, if all are nearer to others.
    """
    upright, reorientation = canonical(inside)
    seeds = upright.geometry.to_index_zyx(np.asarray(seeds_lps_mm))
    return reorient_back(_split(upright.array, seeds, upright.spacing_mm), reorientation).array


def _split(
    inside: np.ndarray, seeds_zyx: np.ndarray, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Split a mask in canonical orientation."""
    steps = [max(1, round(_SEARCH_MM / s)) for s in spacing_mm]
    small = inside[:: steps[0], :: steps[1], :: steps[2]]
    if not small.any():  # too thin for the coarse search
        steps, small = [1, 1, 1], inside
    z_mm, y_mm, x_mm = (s * n for s, n in zip(spacing_mm, steps, strict=True))
    parts = _better_split(small, seeds_zyx / steps, (z_mm, y_mm, x_mm))
    for axis, step in enumerate(steps):
        parts = np.repeat(parts, step, axis=axis)
    parts = parts[: inside.shape[0], : inside.shape[1], : inside.shape[2]]
    parts = np.where(inside, parts, 0)
    missing = inside & (parts == 0)
    if missing.any():
        nearest = ndimage.distance_transform_edt(
            parts == 0, spacing_mm, return_distances=False, return_indices=True
        )
        parts[missing] = parts[tuple(axis[missing] for axis in nearest)]
    return parts


def _better_split(
    small: np.ndarray, seeds_zyx: np.ndarray, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Return the better of the two splits, int32; 0 in components without a seed."""
    seeds = _balls(small, seeds_zyx, spacing_mm)
    by_distance = _geodesic_split(small, seeds, spacing_mm, len(seeds_zyx))
    gaps_mm = np.linalg.norm(np.diff(seeds_zyx * spacing_mm, axis=0), axis=1)
    all_placed = len(np.unique(seeds[seeds > 0])) == len(seeds_zyx)
    if not all_placed or gaps_mm.min() < _LEAST_APART_MM:
        return by_distance
    no_hints = VoxelHints(np.zeros(small.shape, np.float32), None)
    by_surface = assign_voxels(seeds, small, no_hints, spacing_mm)
    if cut_mm2(by_surface, spacing_mm) < cut_mm2(by_distance, spacing_mm):
        return by_surface
    return by_distance


def cut_mm2(parts: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Return the contact area of different parts, by the faces of their voxels."""
    area_mm2 = 0.0
    for axis, step_mm in enumerate(spacing_mm):
        along = np.moveaxis(parts, axis, 0)
        first, second = along[:-1], along[1:]
        faces = int(((first > 0) & (second > 0) & (first != second)).sum())
        area_mm2 += faces * float(np.prod(spacing_mm)) / step_mm
    return area_mm2


def _geodesic_split(
    inside: np.ndarray, seeds: np.ndarray, spacing_mm: tuple[float, ...], count: int
) -> np.ndarray:
    """Return the seed with the cheapest path to each voxel; 0 in components without a seed.

    The cost of a step is 1 / depth^2 of the bone, because facet joints are thin and pedicles
    thick.
    """
    depth_mm = ndimage.distance_transform_edt(np.pad(inside, 1), spacing_mm)[1:-1, 1:-1, 1:-1]
    distances = []
    for number in range(1, count + 1):
        starts = np.argwhere(seeds == number)
        if len(starts):
            search = search_through_bone(inside, depth_mm, spacing_mm)
            distances.append(search.find_costs(starts)[0])
        else:
            distances.append(np.full(inside.shape, np.inf))
    nearest = np.argmin(distances, axis=0) + 1
    return np.where(inside & np.isfinite(np.min(distances, axis=0)), nearest, 0).astype(np.int32)


def _balls(small: np.ndarray, seeds_zyx: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Return seeds as balls within the mask; overlaps go to the nearer seed."""
    voxels = np.argwhere(small)
    squares_mm2 = ((voxels[:, None] - seeds_zyx[None]) * np.asarray(spacing_mm)) ** 2
    distance_mm = np.sqrt(squares_mm2.sum(axis=-1))
    seeds = np.zeros(small.shape, np.int32)
    nearest = distance_mm.argmin(axis=1)
    radius_mm = np.maximum(_SEED_MM, distance_mm.min(axis=0))
    in_ball = distance_mm[np.arange(len(voxels)), nearest] <= radius_mm[nearest]
    seeds[tuple(voxels[in_ball].T)] = nearest[in_ball] + 1
    return seeds
