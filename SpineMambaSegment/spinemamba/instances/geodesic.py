"""Divide bone among seeds by depth alone: a first guess where nothing else is known.

Every voxel goes to the seed that is nearest through thick bone. Neighbouring vertebrae touch at
their facets, where the bridge of bone is thin; an arch hangs on its own body by pedicles, which are
thick. So a step costs one over the squared depth of bone. Measured on real label maps as perfect
bone: mean Dice per vertebra 0.92 to 0.98 (a watershed on the depth: 0.84 to 0.96), the worst
vertebra 0.79; facets go astray, which the surfaces of partition.py put right.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.graph import MCP_Geometric

LEAST_DEPTH_MM = 0.5


def nearest_seed(
    seeds: np.ndarray, bone: np.ndarray, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Grow seeds over bone until they meet.

    Args:
        seeds: Numbers from 1, 0 elsewhere, (z, y, x).
        bone: Mask to divide, bool (z, y, x).
        spacing_mm: Voxel size along z, y, x.

    Returns:
        Number of the seed of each voxel, int32; 0 outside the bone and where no seed leads.
    """
    bone = bone | (seeds > 0)
    starts = np.argwhere(seeds > 0)
    if not len(starts):
        return np.zeros(bone.shape, np.int32)
    depth_mm = ndimage.distance_transform_edt(bone, spacing_mm)
    costs = 1 / np.maximum(depth_mm, LEAST_DEPTH_MM) ** 2
    # Negative costs are walls.
    search = MCP_Geometric(np.where(bone, costs, -1.0), fully_connected=True, sampling=spacing_mm)
    _, came_by = search.find_costs(starts)
    origin = _origins(came_by, np.asarray(search.offsets))
    return np.where(bone, seeds.ravel()[origin].reshape(bone.shape), 0).astype(np.int32)


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
