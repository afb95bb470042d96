"""Weighted total variation smoothing over a bone mask.

A boundary between two vertebrae should lie where the estimates change, and cut little bone. Both
goals are combined by minimising ``sum weight / 2 (u - value)^2 + tv_weight * |grad u|`` over the
bone. Here ``u`` is the smoothed value of a voxel and ``value`` its estimate. Rounding ``u`` gives
the exact minimum cut between any two successive numbers (Chambolle, "Total variation minimization
and a class of binary MRF models", 2005). The solver is the primal-dual method of Chambolle and Pock
(2011). Its steps are sparse matrix products, so time and memory grow with the volume of the bone
and not of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

_STEP_SHARE = 0.3
"""Primal step size relative to the dual one; converges within 100 steps with these weights."""


@dataclass(frozen=True)
class BoneGraph:
    """Finite differences between neighbouring voxels of a mask with n voxels.

    Attributes:
        gradient: Forward differences per millimetre, a row per axis and voxel, (3 n, n).
        divergence: Transpose of the gradient.
        bound: Upper bound of the squared norm of the gradient.
    """

    gradient: sparse.csr_matrix
    divergence: sparse.csr_matrix
    bound: float


def bone_graph(bone: np.ndarray, spacing_mm: tuple[float, float, float]) -> BoneGraph:
    """Return the graph of the voxels of a mask, in the order of ``np.argwhere``."""
    count = int(bone.sum())
    number = np.full(bone.shape, -1, np.int32)
    number[bone] = np.arange(count)
    blocks = []
    for axis, step_mm in enumerate(spacing_mm):
        low = tuple(slice(0, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        both = (number[low] >= 0) & (number[high] >= 0)
        voxel, neighbour = number[low][both], number[high][both]
        weight = np.full(len(voxel), 1 / step_mm, np.float32)
        entries = (np.concatenate([voxel, voxel]), np.concatenate([voxel, neighbour]))
        values = np.concatenate([-weight, weight])
        blocks.append(sparse.csr_matrix((values, entries), shape=(count, count)))
    gradient = sparse.vstack(blocks, format="csr")
    bound = 4.0 * sum(1 / step_mm**2 for step_mm in spacing_mm)
    return BoneGraph(gradient, gradient.T.tocsr(), bound)


def smooth_over_bone(
    values: np.ndarray,
    weights: np.ndarray,
    graph: BoneGraph,
    tv_weight_mm: float,
    steps: int,
) -> np.ndarray:
    """Return smoothed values.

    Args:
        values: Estimate of each voxel, (n,).
        weights: Weight of each estimate, (n,); infinite where the value is fixed.
        graph: Graph of the voxels.
        tv_weight_mm: Weight of the total variation: the cost of a cut between two successive
            numbers per area, relative to the weights per volume, hence in mm.
        steps: Number of iterations.

    Returns:
        Smoothed value of each voxel, float32 (n,).
    """
    fixed = ~np.isfinite(weights)
    value = values.astype(np.float32)
    weight = np.where(fixed, 0, weights).astype(np.float32)
    primal = np.float32(_STEP_SHARE / np.sqrt(graph.bound))
    dual_step = np.float32(1 / (primal * graph.bound))
    current, extrapolated = value.copy(), value.copy()
    dual = np.zeros(3 * len(value), np.float32)
    for _ in range(steps):
        dual += dual_step * (graph.gradient @ extrapolated)
        parts = dual.reshape(3, -1)
        parts /= np.maximum(
            1, np.sqrt(np.einsum("an,an->n", parts, parts)) / np.float32(tv_weight_mm)
        )
        previous = current
        moved = current - primal * (graph.divergence @ dual)
        current = (moved + primal * weight * value) / (1 + primal * weight)
        current[fixed] = value[fixed]
        extrapolated = 2 * current - previous
    return current
