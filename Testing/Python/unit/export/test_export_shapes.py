"""Surfaces of analytic solids on oblique grids of anisotropic voxels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from analytic_solids import SOLIDS, random_grid

from spinemamba.export.checks import Topology
from spinemamba.export.exporter import Export, Target
from spinemamba.export.item import Vertebra
from spinemamba.export.meshing import vtk_surface
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import make_raw_surface
from spinemamba.export.meshing.smooth import finish, smooth

MANY_VOXELS = [
    pytest.param(spacing_mm, marks=pytest.mark.slow)
    for spacing_mm in ((0.5, 0.5, 0.5), (0.8, 0.8, 2.0))
]
SPACINGS = [*MANY_VOXELS, (1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (1.0, 1.0, 3.0)]
SIDES = [*((name, False) for name in SOLIDS), ("drilled box", True)]
"""Solids, and whether their grid is left-handed; only the box differs from its mirror image."""

TUNNELS = {"sphere": 0, "torus": 1, "drilled box": 1}


@lru_cache
def made(name: str, spacing_mm: tuple[float, float, float], left: bool):
    """Return a solid, its grid and its mesh; cached, because two tests use them."""
    solid, grid = SOLIDS[name], random_grid(len(name), spacing_mm, left=left)
    return solid, grid, finished(solid, grid).mesh


def finished(solid, grid, options=None):
    options = options or MeshOptions()
    raw_surface = make_raw_surface(grid.mask(solid), grid.place, options)
    return finish(raw_surface, smooth(raw_surface, options), options)


@pytest.mark.parametrize(("name", "left"), SIDES)
@pytest.mark.parametrize("spacing_mm", SPACINGS, ids=str)
def test_a_surface_has_the_volume_and_position_of_its_solid(name, spacing_mm, left):
    solid, grid, mesh = made(name, spacing_mm, left)
    assert mesh.volume_mm3 == pytest.approx(solid.volume_mm3, rel=0.005)
    assert solid.largest_distance_mm(mesh) <= grid.half_diagonal_mm
    topology = Topology.of(mesh)
    assert topology.watertight
    assert (topology.bodies, topology.cavities, topology.tunnels) == (1, 0, TUNNELS[name])


@pytest.mark.parametrize("name", ["sphere", "torus"])
@pytest.mark.parametrize("spacing_mm", SPACINGS, ids=str)
def test_every_point_of_a_round_solid_is_close_to_its_surface(name, spacing_mm):
    solid, grid, mesh = made(name, spacing_mm, False)
    points_mm = solid.surface_mm(20000, np.random.default_rng(1))
    distances_mm = vtk_surface.distances_mm(points_mm, mesh)
    assert distances_mm.max() <= grid.half_diagonal_mm


def test_a_mirrored_surface_is_detected():
    solid, grid = SOLIDS["drilled box"], random_grid(3, (1.0, 1.0, 1.0))
    mesh = finished(solid, grid).mesh
    for axis in range(3):
        mirror = np.where(np.arange(3) == axis, -1.0, 1.0)
        assert solid.largest_distance_mm(Mesh(mesh.points_mm * mirror, mesh.triangles)) > 3


@pytest.mark.parametrize("left", [False, True], ids=["right-handed", "left-handed"])
def test_triangles_face_outwards_in_every_space(tmp_path, left):
    trimesh = pytest.importorskip("trimesh")
    solid, grid = SOLIDS["drilled box"], random_grid(5, (0.8, 0.8, 2.0), left=left)
    item = Vertebra("L1", lambda: grid.mask(solid), grid.place)
    for space, signs in (("LPS", (1, 1, 1)), ("RAS", (-1, -1, 1))):
        folder = tmp_path / space
        folder.mkdir()
        Export([item], Target(folder), MeshOptions(space=space)).run()
        mesh = trimesh.load(folder / "spine_L1.stl")
        assert mesh.is_volume
        assert mesh.volume == pytest.approx(solid.volume_mm3, rel=0.005)
        back = Mesh(np.asarray(mesh.vertices) * signs, np.asarray(mesh.faces))
        assert solid.largest_distance_mm(back) <= grid.half_diagonal_mm


def test_an_unsmoothed_surface_follows_voxel_faces():
    grid = random_grid(2, (1.0, 1.0, 1.0))
    made = finished(SOLIDS["sphere"], grid, MeshOptions(smoothing=0))
    steps = 2 * np.linalg.solve(grid.axes_mm, (made.mesh.points_mm - grid.origin_mm).T).T
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert made.deviation.max_mm < 1e-5


def test_decimation_keeps_volume_and_position():
    solid, grid = SOLIDS["torus"], random_grid(4, (0.7, 0.7, 0.7))
    all_, few = (finished(solid, grid, MeshOptions(decimation=share)) for share in (0, 0.8))
    assert len(few.mesh.triangles) == pytest.approx(0.2 * len(all_.mesh.triangles), rel=0.02)
    assert few.mesh.volume_mm3 == pytest.approx(solid.volume_mm3, rel=0.005)
    assert Topology.of(few.mesh).watertight
    assert few.intersecting == 0
