"""Triangle mesh, with volume, area, edges and normals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Attributes:
        points_mm: Points, shape (points, 3), in LPS unless stated otherwise.
        triangles: Point numbers, shape (triangles, 3); counter-clockwise seen from outside.
    """

    points_mm: np.ndarray
    triangles: np.ndarray

    @cached_property
    def corners_mm(self) -> np.ndarray:
        """Corners of each triangle, shape (triangles, 3, 3)."""
        return self.points_mm[self.triangles]

    @cached_property
    def area_vectors_mm2(self) -> np.ndarray:
        """Outward normal of each triangle, with twice its area as length, (triangles, 3)."""
        first, second, third = self.corners_mm.transpose(1, 0, 2)
        return np.cross(second - first, third - first)

    @property
    def volume_mm3(self) -> float:
        """Enclosed volume; negative if the triangles face inwards."""
        # Divergence theorem: sum of tetrahedra, relative to the centre to reduce rounding.
        first = self.corners_mm[:, 0] - self.points_mm.mean(axis=0)
        return float(np.einsum("ij,ij->", first, self.area_vectors_mm2) / 6)

    @property
    def area_mm2(self) -> float:
        """Area of the surface."""
        return float(np.linalg.norm(self.area_vectors_mm2, axis=1).sum() / 2)

    @cached_property
    def edges(self) -> _Edges:
        """Counts of edges by number of triangles."""
        return _Edges.of(self.triangles)

    @property
    def euler_number(self) -> int:
        """Points minus edges plus triangles: 2 for a sphere, 0 for a torus; additive."""
        return len(np.unique(self.triangles)) - self.edges.count + len(self.triangles)

    def reversed(self) -> Mesh:
        """Return the surface with opposite orientation."""
        return Mesh(self.points_mm, self.triangles[:, ::-1])

    def facing_outwards(self) -> Mesh:
        """Return the surface with positive volume.

        Left-handed grids and mirroring transforms invert the orientation.
        """
        return self.reversed() if self.volume_mm3 < 0 else self

    def moved_to(self, points_mm: np.ndarray) -> Mesh:
        """Return a surface with the same triangles and new points."""
        return replace(self, points_mm=points_mm)

    def welded(self) -> Mesh:
        """Merge equal points, as readers of STL files do, and drop degenerate triangles.

        Returns the surface itself if all points differ.
        """
        points = np.ascontiguousarray(self.points_mm + 0.0)  # -0 becomes 0
        rows = points.view([("", points.dtype)] * 3).ravel()
        _, first, numbers = np.unique(rows, return_index=True, return_inverse=True)
        if len(first) == len(rows):
            return self
        triangles = numbers.ravel()[self.triangles]
        i, j, k = triangles.T
        triangles = triangles[(i != j) & (j != k) & (k != i)]
        return Mesh(self.points_mm[first], triangles.astype(self.triangles.dtype))

    def point_normals(self) -> np.ndarray:
        """Return the area-weighted normal at each point, shape (points, 3)."""
        sums = np.zeros((len(self.points_mm), 3))
        for corner in range(3):
            for axis in range(3):
                sums[:, axis] += np.bincount(
                    self.triangles[:, corner],
                    self.area_vectors_mm2[:, axis],
                    minlength=len(sums),
                )
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)


@dataclass(frozen=True)
class _Edges:
    """Counts of edges.

    Attributes:
        count: All edges.
        open: Edges of only one triangle.
        non_manifold: Edges of more than two triangles, or of two with inconsistent orientation.
    """

    count: int
    open: int
    non_manifold: int

    @classmethod
    def of(cls, triangles: np.ndarray) -> _Edges:
        """Count the edges of triangles, shape (triangles, 3)."""
        starts = triangles.astype(np.int64).ravel()
        ends = np.roll(triangles, -1, axis=1).astype(np.int64).ravel()
        size = int(triangles.max(initial=0)) + 1
        # Encode each edge as one number, with its direction in the lowest bit.
        keys = (np.minimum(starts, ends) * size + np.maximum(starts, ends)) * 2 + (starts < ends)
        keys.sort()
        _, first, counts = np.unique(keys >> 1, return_index=True, return_counts=True)
        twice = counts == 2
        # Keys are sorted, so that a consistent pair has direction 0 first and 1 second.
        agree = (keys[first] & 1 == 0) & (keys[np.minimum(first + 1, len(keys) - 1)] & 1 == 1)
        opened = int((counts == 1).sum())
        return cls(len(counts), opened, int(len(counts) - opened - (twice & agree).sum()))
