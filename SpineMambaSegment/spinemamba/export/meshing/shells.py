"""Connected shells of a surface (pieces and cavities) and their nesting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.export.meshing.mesh import Mesh

_ROTATION, _ = np.linalg.qr(np.array([[3.0, 1.0, 0.5], [0.3, 2.0, 1.1], [0.7, 0.2, 2.5]]))
"""Rotation to axes that are not parallel to voxel edges, so that rays hit no edge and no corner."""

_OUTSIDE = -1


@dataclass(frozen=True)
class Shells:
    """Connected components of a surface, by shared points.

    Attributes:
        of_triangle: Number of the shell of each triangle, shape (triangles,).
        volumes_mm3: Signed volume of each shell, shape (shells,): negative for the wall of a
            cavity, whose triangles face into it.
        parents: Innermost shell around each shell; `_OUTSIDE` if there is none.
    """

    of_triangle: np.ndarray
    volumes_mm3: np.ndarray
    parents: np.ndarray

    @classmethod
    def of(cls, mesh: Mesh) -> Shells:
        """Return the shells of a closed surface."""
        of_triangle = _components(mesh.triangles)
        count = int(of_triangle.max(initial=-1)) + 1
        if not count:
            return cls(of_triangle, np.zeros(0), np.zeros(0, int))
        centre_mm = mesh.points_mm[mesh.triangles].mean(axis=(0, 1))
        parts_mm3 = (
            np.einsum("td,td->t", mesh.corners_mm[:, 0] - centre_mm, mesh.area_vectors_mm2) / 6
        )
        volumes_mm3 = np.bincount(of_triangle, parts_mm3, minlength=count)
        return cls(of_triangle, volumes_mm3, _parents(mesh, of_triangle, np.abs(volumes_mm3)))

    @property
    def is_body(self) -> np.ndarray:
        """Whether each shell is the outer wall of a piece, not the wall of a cavity."""
        return self.volumes_mm3 >= 0

    @property
    def net_mm3(self) -> np.ndarray:
        """Volume of each shell minus that of the shells directly in it, shape (shells,)."""
        net_mm3 = np.abs(self.volumes_mm3)
        inner = self.parents != _OUTSIDE
        np.subtract.at(net_mm3, self.parents[inner], np.abs(self.volumes_mm3)[inner])
        return net_mm3


def _components(triangles: np.ndarray) -> np.ndarray:
    """Return the number of the connected component of each triangle."""
    if not len(triangles):
        return np.zeros(0, int)
    root = np.arange(int(triangles.max()) + 1)
    while True:
        # The smallest number spreads over each triangle, and then along chains of roots.
        least = root[triangles].min(axis=1)
        before = root.copy()
        for corner in range(3):
            np.minimum.at(root, before[triangles[:, corner]], least)
            np.minimum.at(root, triangles[:, corner], least)
        while not np.array_equal(root, root[root]):
            root = root[root]
        if np.array_equal(root, before):
            break
    _, numbers = np.unique(root[triangles[:, 0]], return_inverse=True)
    return numbers.ravel()


def _parents(mesh: Mesh, of_triangle: np.ndarray, sizes_mm3: np.ndarray) -> np.ndarray:
    """Return the smallest enclosing shell of each shell."""
    parents = np.full(len(sizes_mm3), _OUTSIDE)
    corners = mesh.corners_mm @ _ROTATION
    order = np.argsort(of_triangle, kind="stable")
    starts = np.searchsorted(of_triangle[order], np.arange(len(sizes_mm3) + 1))
    first = order[starts[:-1]]
    low = np.minimum.reduceat(corners.min(axis=1)[order], starts[:-1])
    high = np.maximum.reduceat(corners.max(axis=1)[order], starts[:-1])
    # From the largest to the smallest, so that the last shell around another is the innermost.
    for outer in np.argsort(-sizes_mm3, kind="stable"):
        enclosed = (low[outer] < low).all(axis=1) & (high < high[outer]).all(axis=1)
        inner = np.flatnonzero(enclosed)
        if len(inner):
            wall = corners[order[starts[outer] : starts[outer + 1]]]
            inner = inner[_is_inside(corners[first[inner], 0], wall)]
            parents[inner] = outer
    return parents


def _is_inside(points: np.ndarray, wall: np.ndarray) -> np.ndarray:
    """Return whether points are inside a closed surface, by the parity of ray crossings.

    Args:
        points: Shape (points, 3).
        wall: Corners of its triangles, shape (triangles, 3, 3).
    """
    wall = wall[np.argsort(wall[:, :, 0].min(axis=1))]
    low, high = wall.min(axis=1), wall.max(axis=1)
    # Triangles are sorted along the first axis, so that candidates are consecutive.
    widest = (high[:, 0] - low[:, 0]).max()
    begins = np.searchsorted(low[:, 0], points[:, 0] - widest)
    ends = np.searchsorted(low[:, 0], points[:, 0], "right")
    inside = np.zeros(len(points), bool)
    for number, (point, begin, end) in enumerate(zip(points, begins, ends, strict=True)):
        here = slice(begin, end)
        near = (low[here, 1] <= point[1]) & (high[here] >= point).all(axis=1)
        inside[number] = _crossings(wall[here][near] - point) % 2
    return inside


def _crossings(wall: np.ndarray) -> int:
    """Return the number of triangles (n, 3, 3) that the positive third axis crosses."""
    x, y, _ = wall.transpose(2, 0, 1)
    turns = x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)
    crossed = (turns > 0).all(axis=1) | (turns < 0).all(axis=1)
    turns, wall = turns[crossed], wall[crossed]
    # Barycentric weights: the area opposite of each corner.
    heights = np.einsum("tc,tc->t", np.roll(turns, -1, axis=1), wall[:, :, 2])
    return int((heights / turns.sum(axis=1) > 0).sum())
