"""How far smoothing may move a surface without leaving what its label says.

The surface of whatever was labelled passes between the middle of each voxel inside and that of its
neighbour outside. A place from which both are within half a voxel diagonal is therefore no further
from that surface. Between thick slices the voxels of interpolated slices stand for those of the
label, except at plateaus. Smoothing alone keeps to this nearly everywhere, but bulges on wide
steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.export.meshing.mesh import Mesh

HALVINGS = 5


@dataclass(frozen=True)
class Reach:
    """Where the points of a surface may go.

    Attributes:
        inside_mm: For each point the middle of one of the two voxels it lies between, (points, 3).
        outside_mm: The other one; which is which does not matter.
        half_diagonal_mm: Half a voxel diagonal there, shape (points,).
    """

    inside_mm: np.ndarray
    outside_mm: np.ndarray
    half_diagonal_mm: np.ndarray

    def limit(self, raw: Mesh, wanted: Mesh, free: np.ndarray | None = None) -> tuple[Mesh, int]:
        """Return the wanted surface with points that go too far moved back towards the raw one.

        Args:
            raw: Surface before smoothing.
            wanted: The same points after smoothing.
            free: For each point whether it belongs to this surface alone; all do if None. For a
                point of two surfaces only its own voxels vouch, which are the same for both.

        Returns:
            The surface, and how many points were moved back.
        """
        far = np.flatnonzero(self._own_mm(wanted.points_mm) > self.half_diagonal_mm)
        starts, ends = _around(raw, far)
        if free is not None:
            vouches = free[far[starts]] | (far[starts] == ends)
            starts, ends = starts[vouches], ends[vouches]
        moves_mm = wanted.points_mm[far] - raw.points_mm[far]
        too_far = ~self._is_within(wanted.points_mm[far], far, starts, ends)
        low, high = np.where(too_far, 0.0, 1.0), np.ones(len(far))
        for _ in range(HALVINGS):
            share = (low + high) / 2
            places_mm = raw.points_mm[far] + share[:, None] * moves_mm
            within = self._is_within(places_mm, far, starts, ends)
            low, high = np.where(within, share, low), np.where(within, high, share)
            low[~too_far] = high[~too_far] = 1.0
        points_mm = wanted.points_mm.copy()
        points_mm[far] = raw.points_mm[far] + low[:, None] * moves_mm
        return wanted.moved_to(points_mm), int(too_far.sum())

    def _own_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Return how far each point is from the further one of its own two voxels."""
        one = np.linalg.norm(points_mm - self.inside_mm, axis=1)
        return np.maximum(one, np.linalg.norm(points_mm - self.outside_mm, axis=1))

    def _is_within(
        self, places_mm: np.ndarray, points: np.ndarray, starts: np.ndarray, ends: np.ndarray
    ) -> np.ndarray:
        """Return for places of some points whether a pair of voxels around them vouches for them.

        Args:
            places_mm: Where these points would be.
            points: Their numbers.
            starts: Positions in ``points``, with
            ends: the points at the other ends of edges from there, and themselves.
        """
        reach = Reach(self.inside_mm[ends], self.outside_mm[ends], self.half_diagonal_mm[ends])
        vouched = reach._own_mm(places_mm[starts]) <= self.half_diagonal_mm[points[starts]]
        return np.bincount(starts[vouched], minlength=len(points)) > 0


def _around(mesh: Mesh, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each of some points with itself and each of its neighbours, as positions and points.

    On a closed surface every edge is the side of one triangle in either direction.
    """
    position = np.full(len(mesh.points_mm), -1)
    position[points] = np.arange(len(points))
    starts = position[mesh.triangles].ravel()
    ends = np.roll(mesh.triangles, -1, axis=1).ravel()
    wanted = starts >= 0
    own = np.arange(len(points))
    return np.concatenate([own, starts[wanted]]), np.concatenate([points, ends[wanted]])
