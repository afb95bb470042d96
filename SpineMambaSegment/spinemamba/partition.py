"""Divide bone among seeds: every voxel goes to the seed that is nearest through thick bone.

Neighbouring vertebrae touch at their facets, where the bridge of bone is thin; an arch hangs on
its own body by pedicles, which are thick. So a step costs one over the squared depth of bone,
more where the networks see one level end and the next begin, and a voxel belongs to the seed with
the cheapest way to it. Measured on the real label maps gl003, verse004, verse009, verse010 and
lidc0001 as perfect bone: mean Dice per vertebra 0.84 to 0.96 with a watershed on the depth, 0.94 to
0.98 with this search by depth alone, 0.96 to 0.99 with blurred and noisy levels besides.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.graph import MCP_Geometric

LEAST_DEPTH_MM = 0.5
LEVEL_COST = 100.0
"""Times the squared change of the expected level from voxel to voxel, which is at most 1."""


def divide(
    seeds: np.ndarray,
    bone: np.ndarray,
    level: np.ndarray,
    spacing_mm: tuple[float, float, float],
) -> np.ndarray:
    """Grow seeds over bone until they meet.

    Args:
        seeds: Numbers from 1, 0 elsewhere, (z, y, x).
        bone: Mask to divide, bool (z, y, x).
        level: Expected level of each voxel, counted from head to tail, (z, y, x).
        spacing_mm: Voxel size along z, y, x.

    Returns:
        Number of the seed of each voxel, int32; 0 outside the bone and where no seed leads.
    """
    bone = bone | (seeds > 0)
    starts = np.argwhere(seeds > 0)
    if not len(starts):
        return np.zeros(bone.shape, np.int32)
    depth_mm = ndimage.distance_transform_edt(bone, spacing_mm)
    costs = (1 + LEVEL_COST * _change(level, bone) ** 2) / np.maximum(depth_mm, LEAST_DEPTH_MM) ** 2
    # Negative costs are walls.
    search = MCP_Geometric(np.where(bone, costs, -1.0), fully_connected=True, sampling=spacing_mm)
    _, came_by = search.find_costs(starts)
    origin = _origins(came_by, np.asarray(search.offsets))
    return np.where(bone, seeds.ravel()[origin].reshape(bone.shape), 0).astype(np.int32)


def _change(level: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """Return the largest change of the level towards a neighbouring bone voxel, at most 1."""
    change = np.zeros(level.shape, np.float32)
    for axis in range(3):
        low = tuple(slice(0, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        step = np.abs(level[high] - level[low]) * (bone[high] & bone[low])
        for side in (low, high):
            np.maximum(change[side], step, out=change[side])
    return np.minimum(change, 1.0)


def _origins(came_by: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the flat index of the start of each voxel's way.

    Args:
        came_by: Which of ``offsets`` led to each voxel; negative at starts and walls.
        offsets: Steps along z, y, x; (moves, 3).
    """
    _, rows, columns = came_by.shape
    strides = np.array([rows * columns, columns, 1])
    parent = np.arange(came_by.size)
    moved = np.flatnonzero(came_by.ravel() >= 0)
    parent[moved] -= (offsets @ strides)[came_by.ravel()[moved]]
    # Every jump doubles the distance; a way never visits a voxel twice.
    while True:
        jumped = parent[parent]
        if np.array_equal(jumped, parent):
            return parent
        parent = jumped
