"""A surface of triangles, and what can be said of it by counting and summing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """A surface.

    Attributes:
        points_mm: Corners, shape (points, 3), in LPS unless said otherwise.
        triangles: Numbers of the corners, shape (triangles, 3); seen from outside they go
            round counter-clockwise.
    """

    points_mm: np.ndarray
    triangles: np.ndarray

    @cached_property
    def corners_mm(self) -> np.ndarray:
        """Corners of each triangle, shape (triangles, 3, 3)."""
        return self.points_mm[self.triangles]

    @cached_property
    def area_vectors_mm2(self) -> np.ndarray:
        """Outward normal of each triangle, as long as twice its area, shape (triangles, 3)."""
        first, second, third = self.corners_mm.transpose(1, 0, 2)
        return np.cross(second - first, third - first)

    @property
    def volume_mm3(self) -> float:
        """Volume inside; negative where the triangles face inwards."""
        # About the middle, where rounding is least. Sum of tetrahedra: divergence theorem.
        first = self.corners_mm[:, 0] - self.points_mm.mean(axis=0)
        return float(np.einsum("ij,ij->", first, self.area_vectors_mm2) / 6)

    @property
    def area_mm2(self) -> float:
        """Area of the surface."""
        return float(np.linalg.norm(self.area_vectors_mm2, axis=1).sum() / 2)

    @cached_property
    def edges(self) -> Edges:
        """What the triangles' sides say about how they hang together."""
        return Edges.of(self.triangles)

    @property
    def euler_number(self) -> int:
        """Corners minus edges plus triangles: 2 for a ball, 0 for a ring; pieces add up."""
        return len(np.unique(self.triangles)) - self.edges.count + len(self.triangles)

    def reversed(self) -> Mesh:
        """Return the same surface facing the other way."""
        return Mesh(self.points_mm, self.triangles[:, ::-1])

    def facing_outwards(self) -> Mesh:
        """Return the same surface with a positive volume.

        A left-handed grid and a transform that mirrors turn triangles inside out.
        """
        return self.reversed() if self.volume_mm3 < 0 else self

    def moved_to(self, points_mm: np.ndarray) -> Mesh:
        """Return a surface of the same triangles with other corners."""
        return replace(self, points_mm=points_mm)

    def welded(self) -> Mesh:
        """Return the same surface without points at the same place and triangles without area.

        Readers of STL files take equal points for one. The surface itself where all points differ.
        """
        places = np.ascontiguousarray(self.points_mm + 0.0)  # -0 becomes 0
        rows = places.view([("", places.dtype)] * 3).ravel()
        _, first, numbers = np.unique(rows, return_index=True, return_inverse=True)
        if len(first) == len(rows):
            return self
        triangles = numbers.ravel()[self.triangles]
        one, two, three = triangles.T
        triangles = triangles[(one != two) & (two != three) & (three != one)]
        return Mesh(self.points_mm[first], triangles.astype(self.triangles.dtype))

    def point_normals(self) -> np.ndarray:
        """Return the mean direction of the triangles at each point, by area, shape (points, 3)."""
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
class Edges:
    """How triangles hang together.

    Attributes:
        count: Different edges.
        open: Edges of one triangle alone.
        non_manifold: Edges of more than two triangles, or of two that do not agree on what is
            outside.
    """

    count: int
    open: int
    non_manifold: int

    @classmethod
    def of(cls, triangles: np.ndarray) -> Edges:
        """Count the edges of triangles, shape (triangles, 3)."""
        starts = triangles.astype(np.int64).ravel()
        ends = np.roll(triangles, -1, axis=1).astype(np.int64).ravel()
        size = int(triangles.max(initial=0)) + 1
        # Each edge as one number, with its direction in the lowest bit.
        keys = (np.minimum(starts, ends) * size + np.maximum(starts, ends)) * 2 + (starts < ends)
        keys.sort()
        _, first, counts = np.unique(keys >> 1, return_index=True, return_counts=True)
        twice = counts == 2
        # In order within an edge, so a pair that agrees has 0 first and 1 second.
        agree = (keys[first] & 1 == 0) & (keys[np.minimum(first + 1, len(keys) - 1)] & 1 == 1)
        opened = int((counts == 1).sum())
        return cls(len(counts), opened, int(len(counts) - opened - (twice & agree).sum()))
