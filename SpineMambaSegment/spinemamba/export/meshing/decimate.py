"""Decimate closed surfaces without changing their topology.

Edges are collapsed in the order of their quadric error (Garland, Heckbert, SIGGRAPH 1997), each to
the point of least error that preserves the volume (Lindstrom, Turk, IEEE Visualization 1998).
VTK's filters do not test whether a collapse pinches the surface. Here, an edge is collapsed only if
it satisfies the link condition (Dey, Edelsbrunner, Guha, Nekhayev, 1999), which preserves pieces,
cavities and holes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.export.meshing.mesh import Mesh

_CHEAPEST = 0.4
"""Share of the edges considered in one round. With more, costly edges go before cheap ones."""

_PASSES = 3
"""Passes per round that search for further independent edges."""

_SMALL = 1e-6
"""Relative weight of the midpoint of an edge, which decides on flat surfaces and ridges."""

_STEEPEST = 0.3
"""Cosine of the largest rotation of a triangle in one collapse."""

_FLATTEST = 0.05
"""Minimum of twice the area of a triangle over the square of its longest edge."""


def decimated(mesh: Mesh, share: float, fixed: np.ndarray | None = None) -> Mesh:
    """Return a surface with fewer triangles and the same topology.

    Args:
        mesh: Closed surface. Non-manifold edges are kept.
        share: Share of triangles to remove, in (0, 1). Fewer are removed if no further edge can be
            collapsed.
        fixed: Whether each point is fixed; None if none is.
    """
    free = np.ones(len(mesh.points_mm), bool) if fixed is None else ~fixed
    middle_mm = mesh.points_mm.mean(axis=0) if len(mesh.points_mm) else np.zeros(3)
    mesh = mesh.moved_to(mesh.points_mm - middle_mm)
    quadrics = _quadrics(mesh)
    remaining_collapses = round(share * len(mesh.triangles)) // 2
    while remaining_collapses > 0:
        half_edges = _HalfEdges.of(mesh.triangles, len(mesh.points_mm))
        for part in (_CHEAPEST, 1.0):
            edges, optimal_mm = _independent(mesh, half_edges, quadrics, (free, part))
            if len(edges):
                break
        else:
            break
        edges, optimal_mm = edges[:remaining_collapses], optimal_mm[:remaining_collapses]
        remaining_collapses -= len(edges)
        kept, gone = half_edges.start[edges], half_edges.end[edges]
        points_mm = mesh.points_mm.copy()
        points_mm[kept] = optimal_mm
        quadrics[kept] += quadrics[gone]
        mesh = Mesh(points_mm, _collapsed(mesh.triangles, kept, gone))
    used, numbers = np.unique(mesh.triangles, return_inverse=True)
    triangles = numbers.reshape(-1, 3).astype(np.int32)
    return Mesh(mesh.points_mm[used] + middle_mm, triangles)


@dataclass(frozen=True)
class _HalfEdges:
    """Half-edges (directed edges) of all triangles, sorted by start and end.

    Attributes:
        start: Start point of each half-edge, shape (half-edges,).
        end: End point.
        opposite: Third point of the triangle.
        triangle: Number of the triangle.
        keys: Start and end encoded in one number, ascending.
        first: Index of the first half-edge that starts at each point, shape (points + 1,).
    """

    start: np.ndarray
    end: np.ndarray
    opposite: np.ndarray
    triangle: np.ndarray
    keys: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, triangles: np.ndarray, points: int) -> _HalfEdges:
        corners = triangles.astype(np.int64)
        start, end, opposite = (np.roll(corners, -turn, axis=1).ravel() for turn in range(3))
        keys = start * points + end
        order = np.argsort(keys, kind="stable")
        start = start[order]
        first = np.searchsorted(start, np.arange(points + 1))
        return cls(start, end[order], opposite[order], order // 3, keys[order], first)

    @property
    def points(self) -> int:
        return len(self.first) - 1

    @property
    def degree(self) -> np.ndarray:
        """Number of half-edges that start at each point."""
        return np.diff(self.first)

    def find(self, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of half-edges, and whether they exist."""
        keys = start * self.points + end
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return place, self.keys[place] == keys

    def around(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pairs of an index in ``points`` and a half-edge that starts at that point."""
        counts = self.degree[points]
        position = np.repeat(np.arange(len(points)), counts)
        within = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
        return position, self.first[points][position] + within


def _quadrics(mesh: Mesh) -> np.ndarray:
    """Return the error quadric of each point, weighted by area, (n, 4, 4)."""
    length = np.linalg.norm(mesh.area_vectors_mm2, axis=1, keepdims=True)
    normal = mesh.area_vectors_mm2 / np.maximum(length, 1e-12)
    offset = -np.einsum("td,td->t", normal, mesh.corners_mm[:, 0])
    plane = np.column_stack([normal, offset])
    of_triangle = (length[:, :, None] * plane[:, :, None] * plane[:, None, :]).reshape(-1, 16)
    count = len(mesh.points_mm)
    sums = [
        sum(np.bincount(mesh.triangles[:, c], part, minlength=count) for c in range(3))
        for part in of_triangle.T
    ]
    return np.stack(sums, axis=1).reshape(-1, 4, 4)


def _independent(
    mesh: Mesh, half_edges: _HalfEdges, quadrics: np.ndarray, allowed: tuple[np.ndarray, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return edges that can be collapsed at the same time, cheapest first, and their new points.

    No two of them have neighbouring points, so that the tests of one are independent of others.

    Args:
        mesh: The surface.
        half_edges: Its half-edges.
        quadrics: Error quadrics of its points.
        allowed: Whether each point may move, and the share of the edges to choose from.
    """
    free, part = allowed
    edges = _edges(half_edges, free)
    optimal_mm, costs = _optimal_points(mesh, half_edges, quadrics, edges)
    cheap = np.argsort(costs, kind="stable")[: max(int(part * len(costs)), 1)]
    cheap = cheap[_keeps_topology(half_edges, edges[cheap])]
    cheap = cheap[_keeps_direction(mesh, half_edges, edges[cheap], optimal_mm[cheap])]
    selected = cheap[_independent_subset(half_edges, edges[cheap])]
    return edges[selected], optimal_mm[selected]


def _independent_subset(half_edges: _HalfEdges, edges: np.ndarray) -> np.ndarray:
    """Return indices of edges without neighbouring points; earlier edges take precedence."""
    start, end = half_edges.start[edges], half_edges.end[edges]
    taken = np.zeros(len(edges), bool)
    remaining = np.arange(len(edges))
    for _ in range(_PASSES):
        best = np.full(half_edges.points, len(edges))
        for ends in (start, end):
            np.minimum.at(best, ends[remaining], remaining)
        best_near = best.copy()
        np.minimum.at(best_near, half_edges.start, best[half_edges.end])
        is_best = (best_near[start[remaining]] == remaining) & (
            best_near[end[remaining]] == remaining
        )
        taken[remaining[is_best]] = True
        near = np.zeros(half_edges.points, bool)
        near[start[taken]] = near[end[taken]] = True
        near[half_edges.start[near[half_edges.end]]] = True
        remaining = remaining[~near[start[remaining]] & ~near[end[remaining]]]
    return np.flatnonzero(taken)


def _edges(half_edges: _HalfEdges, free: np.ndarray) -> np.ndarray:
    """Return one half-edge of each edge between free points that have manifold edges only."""
    back, has_opposite = half_edges.find(half_edges.end, half_edges.start)
    repeated = np.zeros(len(half_edges.keys), bool)
    repeated[1:] = half_edges.keys[1:] == half_edges.keys[:-1]
    repeated[:-1] |= repeated[1:]
    non_manifold = ~has_opposite | repeated | repeated[back]
    valid = free.copy()
    valid[half_edges.start[non_manifold]] = valid[half_edges.end[non_manifold]] = False
    one_direction = half_edges.start < half_edges.end
    return np.flatnonzero(one_direction & valid[half_edges.start] & valid[half_edges.end])


def _optimal_points(
    mesh: Mesh, half_edges: _HalfEdges, quadrics: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best point for the collapse of each edge, (edges, 3), and its error."""
    start, end = half_edges.start[edges], half_edges.end[edges]
    middle_mm = (mesh.points_mm[start] + mesh.points_mm[end]) / 2
    quadric = quadrics[start] + quadrics[end]
    square, linear = quadric[:, :3, :3].copy(), quadric[:, :3, 3]
    # Relative to the midpoint of the edge, to reduce rounding.
    linear = linear + np.einsum("eij,ej->ei", square, middle_mm)
    weight = _SMALL * np.trace(square, axis1=1, axis2=2) + 1e-12
    square[:, [0, 1, 2], [0, 1, 2]] += weight[:, None]
    area, volume = _volume_plane(mesh, half_edges, edges)
    volume = volume - np.einsum("ed,ed->e", area, middle_mm)
    solved = np.linalg.solve(square, np.stack([-linear, area], axis=2))
    free, along = solved[:, :, 0], solved[:, :, 1]
    slope = np.einsum("ed,ed->e", area, along)
    missing = volume - np.einsum("ed,ed->e", area, free)
    step = np.divide(missing, slope, out=np.zeros_like(slope), where=slope > 1e-12)
    optimal_mm = middle_mm + free + step[:, None] * along
    whole = np.column_stack([optimal_mm, np.ones(len(edges))])
    return optimal_mm, np.einsum("ei,eij,ej->e", whole, quadric, whole)


def _volume_plane(
    mesh: Mesh, half_edges: _HalfEdges, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return normals and offsets of the planes of volume-preserving points."""
    vectors = mesh.area_vectors_mm2
    values = np.column_stack([vectors, np.einsum("td,td->t", vectors, mesh.corners_mm[:, 0])])
    of_point = np.stack(
        [
            np.bincount(half_edges.start, part[half_edges.triangle], minlength=half_edges.points)
            for part in values.T
        ],
        axis=1,
    )
    back, _ = half_edges.find(half_edges.end[edges], half_edges.start[edges])
    both = values[half_edges.triangle[edges]] + values[half_edges.triangle[back]]
    sums = of_point[half_edges.start[edges]] + of_point[half_edges.end[edges]] - both
    return sums[:, :3], sums[:, 3]


def _keeps_topology(half_edges: _HalfEdges, edges: np.ndarray) -> np.ndarray:
    """Return whether each edge satisfies the link condition: only two common neighbours.

    Points with three neighbours are excluded, so that tetrahedra are not removed.
    """
    start, end = half_edges.start[edges], half_edges.end[edges]
    position, half_edge = half_edges.around(start)
    _, common = half_edges.find(end[position], half_edges.end[half_edge])
    count = np.bincount(position[common], minlength=len(edges))
    back, _ = half_edges.find(end, start)
    wings = (
        half_edges.degree[half_edges.opposite[edges]],
        half_edges.degree[half_edges.opposite[back]],
    )
    return (count == 2) & (np.minimum(*wings) > 3)


def _keeps_direction(
    mesh: Mesh, half_edges: _HalfEdges, edges: np.ndarray, optimal_mm: np.ndarray
) -> np.ndarray:
    """Return whether no triangle around an edge flips or becomes a sliver."""
    valid = np.ones(len(edges), bool)
    ends = half_edges.start[edges], half_edges.end[edges]
    for moved, other in (ends, ends[::-1]):
        position, half_edge = half_edges.around(moved)
        second, third = half_edges.end[half_edge], half_edges.opposite[half_edge]
        stays = (second != other[position]) & (third != other[position])
        position, half_edge = position[stays], half_edge[stays]
        second, third = mesh.points_mm[second[stays]], mesh.points_mm[third[stays]]
        along, across = second - optimal_mm[position], third - optimal_mm[position]
        after = np.cross(along, across)
        before = mesh.area_vectors_mm2[half_edges.triangle[half_edge]]
        turned = np.einsum("td,td->t", after, before)
        sizes = np.linalg.norm(after, axis=1), np.linalg.norm(before, axis=1)
        longest = np.maximum.reduce(
            [np.einsum("td,td->t", line, line) for line in (along, across, third - second)]
        )
        bad = (turned < _STEEPEST * sizes[0] * sizes[1]) | (sizes[0] < _FLATTEST * longest)
        valid[position[bad]] = False
    return valid


def _collapsed(triangles: np.ndarray, kept: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Replace points in triangles, and drop degenerate triangles."""
    numbers = np.arange(int(triangles.max()) + 1)
    numbers[gone] = kept
    triangles = numbers[triangles]
    first, second, third = triangles.T
    return triangles[(first != second) & (second != third) & (third != first)]
