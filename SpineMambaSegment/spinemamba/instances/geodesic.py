"""Geodesic division of bone among seeds: an initial guess if there are no other hints.

Every voxel is assigned to the seed with the least geodesic distance. The cost of a step is one over
the squared depth of bone: neighbouring vertebrae touch at their facet joints, where the bone is
thin, whereas an arch is connected with its body by thick pedicles. On real label maps as perfect
bone masks, the mean Dice per vertebra is 0.92 to 0.98 (watershed on the depth: 0.84 to 0.96), and
0.79 for the worst vertebra. Errors are mostly at the facets; the cut surfaces of `partition`
correct them.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.graph import MCP_Geometric

_LEAST_DEPTH_MM = 0.5
"""Lower bound of the depth of bone in the cost of a step."""


def nearest_seed(
    seeds: np.ndarray, bone: np.ndarray, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Assign each voxel of bone to the seed with the least geodesic distance.

    Args:
        seeds: Seed numbers from 1, 0 elsewhere, (z, y, x).
        bone: Mask to divide, bool (z, y, x).
        spacing_mm: Voxel size along z, y, x.

    Returns:
        Seed number of each voxel, int32 (z, y, x); 0 outside the bone and where no seed is
        connected.
    """
    bone = bone | (seeds > 0)
    starts = np.argwhere(seeds > 0)
    if not len(starts):
        return np.zeros(bone.shape, np.int32)
    depth_mm = ndimage.distance_transform_edt(bone, spacing_mm)
    search = search_through_bone(bone, depth_mm, spacing_mm)
    _, last_step = search.find_costs(starts)
    origin = _origins(last_step, np.asarray(search.offsets))
    return np.where(bone, seeds.ravel()[origin].reshape(bone.shape), 0).astype(np.int32)


def search_through_bone(
    bone: np.ndarray, depth_mm: np.ndarray, spacing_mm: tuple[float, ...]
) -> MCP_Geometric:
    """Return a search for the cheapest paths through bone: a step costs 1 / depth^2.

    Args:
        bone: Mask, bool (z, y, x). Voxels outside cannot be entered.
        depth_mm: Distance of each voxel to the nearest one outside.
        spacing_mm: Voxel size along z, y, x.
    """
    costs = np.where(bone, 1 / np.maximum(depth_mm, _LEAST_DEPTH_MM) ** 2, -1.0)
    return MCP_Geometric(costs, fully_connected=True, sampling=spacing_mm)


def _origins(last_step: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the flat index of the start of the shortest path to each voxel.

    Args:
        last_step: Index in ``offsets`` of the last step of the path to each voxel, (z, y, x);
            negative at starts and where no path leads.
        offsets: Possible steps along z, y, x, in voxels, (steps, 3).
    """
    _, rows, columns = last_step.shape
    strides = np.array([rows * columns, columns, 1])
    parent = np.arange(last_step.size)
    moved = np.flatnonzero(last_step.ravel() >= 0)
    parent[moved] -= (offsets @ strides)[last_step.ravel()[moved]]
    # Pointer jumping: every iteration doubles the length of the jumps. Paths have no cycles.
    while True:
        jumped = parent[parent]
        if np.array_equal(jumped, parent):
            return parent
        parent = jumped
