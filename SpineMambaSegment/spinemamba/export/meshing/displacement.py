"""Bound of the displacement by smoothing, so that a surface stays consistent with its label.

The true surface passes between the centre of each voxel inside and that of its neighbour outside.
A point within half a voxel diagonal of both is therefore within half a diagonal of the true
surface. Between thick slices, the voxels of interpolated slices replace those of the label, except
at plateaus. Smoothing alone observes the bound nearly everywhere, but bulges on wide steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.export.meshing.mesh import Mesh

_HALVINGS = 5
"""Bisection steps of the displacement of a point that exceeds the bound."""


@dataclass(frozen=True)
class DisplacementBound:
    """Displacement bound of the points of a surface.

    Attributes:
        inside_mm: Centre of one of the two voxels that a point lies between, (points, 3).
        outside_mm: Centre of the other voxel; the order is arbitrary.
        half_diagonal_mm: Half a voxel diagonal at each point, shape (points,).
    """

    inside_mm: np.ndarray
    outside_mm: np.ndarray
    half_diagonal_mm: np.ndarray

    def limit(self, raw: Mesh, smoothed: Mesh, free: np.ndarray | None = None) -> tuple[Mesh, int]:
        """Move points of a smoothed surface that exceed the bound back towards the raw surface.

        Args:
            raw: Surface before smoothing.
            smoothed: The same points after smoothing.
            free: Whether each point belongs to this surface only; None if all do. For a point of
                two surfaces, only the two voxels it lies between count: they are the same for both.

        Returns:
            The surface, and the number of points moved back.
        """
        far = np.flatnonzero(self._pair_distance_mm(smoothed.points_mm) > self.half_diagonal_mm)
        starts, ends = _neighbour_pairs(raw, far)
        if free is not None:
            allowed = free[far[starts]] | (far[starts] == ends)
            starts, ends = starts[allowed], ends[allowed]
        moves_mm = smoothed.points_mm[far] - raw.points_mm[far]
        too_far = ~self._is_within(smoothed.points_mm[far], far, starts, ends)
        low, high = np.where(too_far, 0.0, 1.0), np.ones(len(far))
        for _ in range(_HALVINGS):
            share = (low + high) / 2
            candidates_mm = raw.points_mm[far] + share[:, None] * moves_mm
            within = self._is_within(candidates_mm, far, starts, ends)
            low, high = np.where(within, share, low), np.where(within, high, share)
            low[~too_far] = high[~too_far] = 1.0
        points_mm = smoothed.points_mm.copy()
        points_mm[far] = raw.points_mm[far] + low[:, None] * moves_mm
        return smoothed.moved_to(points_mm), int(too_far.sum())

    def _pair_distance_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the distance of each point from the more distant one of its two voxels."""
        first_mm = np.linalg.norm(points_mm - self.inside_mm, axis=1)
        return np.maximum(first_mm, np.linalg.norm(points_mm - self.outside_mm, axis=1))

    def _is_within(
        self, candidates_mm: np.ndarray, points: np.ndarray, starts: np.ndarray, ends: np.ndarray
    ) -> np.ndarray:
        """Return whether new positions of points are within the bound of a voxel pair nearby.

        Args:
            candidates_mm: New positions of the points.
            points: Numbers of the points.
            starts: For each pair of a point and a neighbour (or itself), the index in ``points``.
            ends: Number of the neighbour in each pair.
        """
        voxel_pairs = DisplacementBound(
            self.inside_mm[ends], self.outside_mm[ends], self.half_diagonal_mm[ends]
        )
        is_near = (
            voxel_pairs._pair_distance_mm(candidates_mm[starts])
            <= self.half_diagonal_mm[points[starts]]
        )
        return np.bincount(starts[is_near], minlength=len(points)) > 0


def _neighbour_pairs(mesh: Mesh, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of some points with themselves and their neighbours, as indices and numbers.

    On a closed surface, every edge occurs once in each direction.
    """
    position = np.full(len(mesh.points_mm), -1)
    position[points] = np.arange(len(points))
    starts = position[mesh.triangles].ravel()
    ends = np.roll(mesh.triangles, -1, axis=1).ravel()
    selected = starts >= 0
    itself = np.arange(len(points))
    return np.concatenate([itself, starts[selected]]), np.concatenate([points, ends[selected]])
