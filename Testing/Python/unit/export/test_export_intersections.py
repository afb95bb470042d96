"""Self-intersections of a surface: the fast search compared with an exhaustive one."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.export.meshing import vtk_surface
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.self_intersections import self_intersections
from spinemamba.export.meshing.smooth import reduce_at_self_intersections


def ball(radius: int = 4) -> Mesh:
    steps = np.indices((2 * radius + 1,) * 3) - radius
    return vtk_surface.surface_of((steps**2).sum(axis=0) <= radius**2)


def crosses(start: np.ndarray, end: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Which of many triangles (n, 3, 3) a segment goes through; Möller and Trumbore, 1997."""
    first, second, third = corners.swapaxes(0, 1)
    along = end - start
    cross = np.cross(along, third - first)
    det = (cross * (second - first)).sum(axis=1)
    det = np.where(abs(det) < 1e-12, np.nan, det)  # parallel: NaN fails every comparison below
    u = (cross * (start - first)).sum(axis=1) / det
    other = np.cross(start - first, second - first)
    v, t = other @ along / det, (other * (third - first)).sum(axis=1) / det
    return (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < 1)


def by_trying_every_pair(mesh: Mesh) -> np.ndarray:
    """The exhaustive search: every edge against every triangle that it does not touch."""
    found: set[int] = set()
    for one, corners in enumerate(mesh.triangles):
        for start, end in zip(corners, np.roll(corners, -1), strict=True):
            others = np.flatnonzero(~np.isin(mesh.triangles, (start, end)).any(axis=1))
            triangles = mesh.points_mm[mesh.triangles[others]]
            hit = others[crosses(*mesh.points_mm[[start, end]], triangles)]
            found |= {one, *hit.tolist()} if len(hit) else set()
    return np.array(sorted(found))


@pytest.mark.parametrize("noise", [0.4, 0.7, 1.0])
def test_the_fast_search_equals_testing_every_pair(noise):
    mesh = ball(2)
    random = np.random.default_rng(int(10 * noise))
    mesh = mesh.moved_to(mesh.points_mm + random.normal(0, noise, mesh.points_mm.shape))
    slow = by_trying_every_pair(mesh)
    assert len(slow) > 0
    np.testing.assert_array_equal(self_intersections(mesh), slow)


def test_a_surface_of_voxels_never_intersects_itself():
    random = np.random.default_rng(0)
    mask = random.random((12, 12, 12)) < 0.5
    assert len(self_intersections(vtk_surface.surface_of(mask))) == 0


def test_overlapping_balls_intersect():
    one = ball()
    shifted = one.points_mm + np.array([3.3, 0.2, 0.1])
    points = np.concatenate([one.points_mm, shifted])
    triangles = np.concatenate([one.triangles, one.triangles + len(one.points_mm)])
    assert len(self_intersections(Mesh(points, triangles))) > 20
    apart = np.concatenate([one.points_mm, shifted + 20])
    assert len(self_intersections(Mesh(apart, triangles))) == 0


def test_testing_moved_triangles_only_finds_all_intersections():
    sound = ball()
    points_mm = sound.points_mm.copy()
    pole = int(points_mm[:, 2].argmax())
    points_mm[pole] -= [0, 0, 14]  # through the opposite side
    mesh = sound.moved_to(points_mm)
    moved = (mesh.triangles == pole).any(axis=1)
    found = self_intersections(mesh, moved)
    assert len(found) > moved.sum()
    np.testing.assert_array_equal(found, self_intersections(mesh))
    assert len(self_intersections(mesh, np.zeros_like(moved))) == 0


def test_smoothing_is_limited_only_at_self_intersections():
    raw = ball()
    wanted = raw.points_mm.copy()
    pole = int(wanted[:, 2].argmax())
    wanted[pole] -= [0, 0, 28]  # through the opposite side, half of the way, too
    mesh, held_back, cutting = reduce_at_self_intersections(raw, raw.moved_to(wanted))
    assert cutting == 0
    assert len(self_intersections(mesh)) == 0
    assert held_back[pole]
    assert 0 < held_back.sum() < len(held_back) / 2
    np.testing.assert_allclose(mesh.points_mm[~held_back], wanted[~held_back], atol=1e-5)
