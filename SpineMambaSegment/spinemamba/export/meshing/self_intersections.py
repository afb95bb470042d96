"""Find self-intersections of a triangle mesh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from spinemamba.export.meshing.mesh import Mesh

_EDGES = ((0, 1), (1, 2), (2, 0))


def self_intersections(mesh: Mesh, moved: np.ndarray | None = None) -> np.ndarray:
    """Return the numbers of the triangles that intersect another one, ascending.

    Triangles that share a corner or an edge count only if they also intersect elsewhere. Coplanar
    triangles do not count.

    Args:
        mesh: The surface.
        moved: Whether each triangle has moved since the last test. Pairs of unmoved triangles are
            assumed not to intersect; None tests all pairs.
    """
    one, other = _neighbours(mesh, moved)
    suspect = _is_suspect(mesh, one, other)
    one, other = one[suspect], other[suspect]
    both = _straddles(mesh, one, other) & _straddles(mesh, other, one)
    one, other = one[both], other[both]
    cut = _edge_crosses(mesh, one, other) | _edge_crosses(mesh, other, one)
    return np.unique(np.concatenate([one[cut], other[cut]]))


def _is_suspect(mesh: Mesh, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return whether each pair may intersect: not if it shares an edge, or a corner without folds.

    Nearly all neighbouring pairs share something, so that this filter makes the search fast.
    """
    folded = _folded_points(mesh)
    common = np.zeros(len(one), np.uint8)
    is_flat = np.zeros(len(one), bool)
    columns = mesh.triangles.T.copy()
    for corner_of_one in columns:
        point = corner_of_one[one]
        for corner_of_other in columns:
            same = point == corner_of_other[other]
            common += same
            is_flat |= same & ~folded[point]
    return (common == 0) | ((common == 1) & ~is_flat)


def _folded_points(mesh: Mesh) -> np.ndarray:
    """Return whether the triangles around each point may overlap in projection along the normal.

    If no triangle faces away from the normal and their angles add up to one turn, they lie side by
    side, and no two of them can intersect.
    """
    normals = mesh.point_normals()[mesh.triangles]  # (triangles, corners, 3)
    facing = np.einsum("tcd,td->tc", normals, mesh.area_vectors_mm2)
    following = np.roll(mesh.corners_mm, -1, axis=1) - mesh.corners_mm
    before = np.roll(mesh.corners_mm, 1, axis=1) - mesh.corners_mm
    along = np.einsum("tcd,tcd->tc", following, normals)
    flat = np.einsum("tcd,tcd->tc", before, normals) * along
    cosine = np.einsum("tcd,tcd->tc", following, before) - flat
    angle = np.arctan2(facing, cosine)
    count = len(mesh.points_mm)
    turns = np.bincount(mesh.triangles.ravel(), angle.ravel(), minlength=count) / (2 * np.pi)
    away = np.bincount(mesh.triangles.ravel(), (facing <= 0).ravel(), minlength=count) > 0
    return away | (turns > 1.5)


def _straddles(mesh: Mesh, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return whether the corners of the second triangle are on both sides of the first's plane.

    Shared corners lie in the plane, on neither side.
    """
    offsets = mesh.corners_mm[other] - mesh.corners_mm[one][:, :1]
    heights = np.einsum("pcd,pd->pc", offsets, mesh.area_vectors_mm2[one])
    shared = mesh.triangles[other][:, :, None] == mesh.triangles[one][:, None, :]
    heights[shared.any(axis=2)] = 0
    return (heights.max(axis=1) > 0) & (heights.min(axis=1) < 0)


def _edge_crosses(mesh: Mesh, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return whether an edge of the first triangle of a pair crosses the second.

    An edge that ends in a corner of the second only touches it.
    """
    hit = np.zeros(len(one), bool)
    for start, end in _EDGES:
        ends = mesh.triangles[one][:, [start, end]]
        unshared = ~(ends[:, :, None] == mesh.triangles[other][:, None, :]).any(axis=(1, 2))
        corners = mesh.corners_mm[one[unshared]]
        hit[unshared] |= _crosses(corners[:, start], corners[:, end], mesh, other[unshared])
    return hit


def _crosses(start: np.ndarray, end: np.ndarray, mesh: Mesh, triangle: np.ndarray) -> np.ndarray:
    """Return whether each segment crosses its triangle, by barycentric coordinates."""
    first, second, third = mesh.corners_mm[triangle].transpose(1, 0, 2)
    normal = mesh.area_vectors_mm2[triangle]
    below = np.einsum("pd,pd->p", start - first, normal)
    above = np.einsum("pd,pd->p", end - first, normal)
    straddles = below * above < 0
    share = np.divide(below, below - above, out=np.zeros_like(below), where=straddles)
    place = start + share[:, None] * (end - start) - first
    size = np.einsum("pd,pd->p", normal, normal)
    u = np.einsum("pd,pd->p", np.cross(place, third - first), normal)
    v = np.einsum("pd,pd->p", np.cross(second - first, place), normal)
    return straddles & (u >= 0) & (v >= 0) & (u + v <= size)


def _neighbours(mesh: Mesh, moved: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of triangles with overlapping boxes, once each; at least one has moved."""
    first, second, third = mesh.corners_mm.transpose(1, 0, 2)
    # Faster than a reduction along an axis of length 3.
    low = np.minimum(np.minimum(first, second), third)
    high = np.maximum(np.maximum(first, second), third)
    cell_mm = max(float(np.median((high - low).max(axis=1))), 1e-9)
    first, last = (((x - low.min(axis=0)) / cell_mm).astype(np.int32) for x in (low, high))
    size = last.max(axis=0) + 1
    triangle, cell = _cells(first, last, size)
    if moved is not None:
        number = np.concatenate([[0], np.cumsum(cell[1:] != cell[:-1])])
        near = (np.bincount(number, moved[triangle]) > 0)[number]
        triangle, cell = triangle[near], cell[near]
    # One array for each axis, sorted by cell, so that compared values are close in memory.
    bounds = [(low[triangle, axis], high[triangle, axis]) for axis in range(3)]
    corner = [first[triangle, axis] for axis in range(3)]
    ones, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for one, other in _within_cells(cell):
        for lowest, highest in bounds:
            overlap = (lowest[one] <= highest[other]) & (lowest[other] <= highest[one])
            one, other = one[overlap], other[overlap]
        # Boxes may share several cells; a pair is reported in the first of them.
        place = [np.maximum(along[one], along[other]) for along in corner]
        is_first_cell = _number(place, size) == cell[one]
        if moved is not None:
            is_first_cell &= moved[triangle[one]] | moved[triangle[other]]
        ones.append(triangle[one[is_first_cell]])
        others.append(triangle[other[is_first_cell]])
    return np.concatenate(ones), np.concatenate(others)


def _cells(first: np.ndarray, last: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of a triangle and a grid cell that its box overlaps, sorted by cell."""
    spans = last - first + 1
    counts = spans.prod(axis=1)
    triangle = np.repeat(np.arange(len(first)), counts)
    rest = np.arange(len(triangle)) - np.repeat(np.cumsum(counts) - counts, counts)
    place = []
    for axis in range(3):
        span = spans[triangle, axis]
        place.append(first[triangle, axis] + rest % span)
        rest //= span
    cell = _number(place, size)
    order = np.argsort(cell, kind="stable")
    return triangle[order], cell[order]


def _within_cells(cell: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield index pairs with equal cells in a sorted list: at distance 1, then 2, and so on."""
    start = np.arange(len(cell))
    for step in range(1, len(cell)):
        start = start[: np.searchsorted(start, len(cell) - step)]
        start = start[cell[start] == cell[start + step]]
        if not len(start):
            return
        yield start, start + step


def _number(place: Sequence[np.ndarray], size: np.ndarray) -> np.ndarray:
    """Return the number of each grid cell, from its index along x, y, z."""
    x, y, z = (along.astype(np.int64) for along in place)
    return (z * size[1] + y) * size[0] + x
