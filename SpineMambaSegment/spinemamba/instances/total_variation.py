"""Smooth numbers over bone, so that neighbouring numbers part where the bone is thin.

Between two vertebrae the wanted cut runs where evidence changes sides, and where little bone is
cut. Both at once is the minimum of ``sum weight / 2 (u - value)^2 + price * |grad u|`` over the
bone: rounding ``u`` gives, between every number and the next, the cheapest cut of all, exactly
(Chambolle, "Total variation minimization and a class of binary MRF models", 2005). It is found with
the primal-dual method of Chambolle and Pock (2011), whose steps are sparse products: time and
memory grow with the bone, not with the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

STEP_SHARE = 0.3
"""Size of a primal step relative to a dual one's; converges within 100 steps at these weights."""


@dataclass(frozen=True)
class BoneGraph:
    """The differences between neighbouring voxels of a mask.

    Attributes:
        gradient: One row for every voxel and axis, per millimetre; (3 n, n).
        divergence: Its transpose.
        bound: Square of a bound of its norm.
    """

    gradient: sparse.csr_matrix
    divergence: sparse.csr_matrix
    bound: float


def bone_graph(bone: np.ndarray, spacing_mm: tuple[float, float, float]) -> BoneGraph:
    """Return the graph of a mask's voxels, in the order of ``np.argwhere``."""
    count = int(bone.sum())
    number = np.full(bone.shape, -1, np.int32)
    number[bone] = np.arange(count)
    blocks = []
    for axis, step_mm in enumerate(spacing_mm):
        low = tuple(slice(0, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        both = (number[low] >= 0) & (number[high] >= 0)
        here, there = number[low][both], number[high][both]
        weight = np.full(len(here), 1 / step_mm, np.float32)
        entries = (np.concatenate([here, here]), np.concatenate([here, there]))
        values = np.concatenate([-weight, weight])
        blocks.append(sparse.csr_matrix((values, entries), shape=(count, count)))
    gradient = sparse.vstack(blocks, format="csr")
    bound = 4.0 * sum(1 / step_mm**2 for step_mm in spacing_mm)
    return BoneGraph(gradient, gradient.T.tocsr(), bound)


def smooth_over_bone(
    values: np.ndarray,
    weights: np.ndarray,
    graph: BoneGraph,
    price: float,
    steps: int,
) -> np.ndarray:
    """Return smoothed values.

    Args:
        values: Of each voxel, (n,).
        weights: How much each is worth, (n,); infinite where it is certain.
        graph: Of the voxels.
        price: Of the area of a cut between two numbers, relative to the weights of a volume, mm.
        steps: Iterations.

    Returns:
        (n,) float32.
    """
    fixed = ~np.isfinite(weights)
    value = values.astype(np.float32)
    weight = np.where(fixed, 0, weights).astype(np.float32)
    primal = np.float32(STEP_SHARE / np.sqrt(graph.bound))
    dual_step = np.float32(1 / (primal * graph.bound))
    now, ahead = value.copy(), value.copy()
    dual = np.zeros(3 * len(value), np.float32)
    for _ in range(steps):
        dual += dual_step * (graph.gradient @ ahead)
        parts = dual.reshape(3, -1)
        parts /= np.maximum(1, np.sqrt(np.einsum("an,an->n", parts, parts)) / np.float32(price))
        before = now
        moved = now - primal * (graph.divergence @ dual)
        now = (moved + primal * weight * value) / (1 + primal * weight)
        now[fixed] = value[fixed]
        ahead = 2 * now - before
    return now
