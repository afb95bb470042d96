"""Interpolation between thick slices: no steps, and no change of the labelled slices."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_solids import Grid, Solid

from spinemamba.export.checks import Topology
from spinemamba.export.meshing import vtk_surface
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import Mask, make_raw_surface
from spinemamba.export.meshing.shared_borders import neighbour_masks
from spinemamba.export.meshing.slice_interpolation import (
    edge_distance_mm,
    interpolate_slices,
    slices_for_one,
)
from spinemamba.export.meshing.smooth import finish, smooth
from spinemamba.export.meshing.vtk_surface import Filter

OPTIONS = MeshOptions()
THICK_MM = (0.3, 0.3, 1.5)


class Cylinder(Solid):
    """A cylinder around an inclined axis."""

    radius, half_length = 8.0, 12.0

    def __init__(self, tilt_degrees: float):
        tilt = np.radians(tilt_degrees)
        self.axis = np.array([0.8 * np.sin(tilt), 0.6 * np.sin(tilt), np.cos(tilt)])

    def out_and_along(self, points_mm):
        """Return the offset from the axis, (points, 3), and the position along it, (points,)."""
        along = points_mm @ self.axis
        return points_mm - along[:, None] * self.axis, along

    def distance_mm(self, points_mm):
        out, along = self.out_and_along(points_mm)
        return np.maximum(
            np.linalg.norm(out, axis=1) - self.radius, np.abs(along) - self.half_length
        )

    def p95_degrees(self, mesh: Mesh) -> float:
        """Return the angles of lateral triangles, away from both ends, to the true normal."""
        out, along = self.out_and_along(mesh.corners_mm.mean(axis=1))
        normals = mesh.area_vectors_mm2
        lengths = np.linalg.norm(normals, axis=1) * np.linalg.norm(out, axis=1)
        cosine = np.einsum("td,td->t", normals, out) / lengths
        side = np.abs(along) < self.half_length - 4
        return float(np.percentile(np.degrees(np.arccos(np.clip(cosine[side], -1, 1))), 95))


def grid_of(spacing_mm: tuple[float, float, float]) -> Grid:
    size = tuple(int(np.ceil(34 / step)) for step in spacing_mm)
    axes_mm = np.diag(spacing_mm)
    return Grid(axes_mm, axes_mm @ (0.3 - np.array(size) / 2), size)


@pytest.mark.parametrize("tilt_degrees", [20, 35, 50])
@pytest.mark.parametrize("thick", [0, 1, 2], ids="xyz")
def test_an_oblique_cylinder_in_thick_slices_has_no_steps(tilt_degrees, thick):
    solid, grid = Cylinder(tilt_degrees), grid_of(THICK_MM)
    cycle = np.roll(np.arange(3), thick - 2)
    mask = Mask(np.transpose(grid.mask(solid).voxels, 2 - cycle[::-1]))
    raw_surface = make_raw_surface(
        mask, lambda index: grid.place(index[:, np.argsort(cycle)]), OPTIONS
    )
    made = finish(raw_surface, smooth(raw_surface, OPTIONS), OPTIONS).mesh
    plain = vtk_surface.smoothed(raw_surface.label, Filter.of(OPTIONS.smoothing))
    assert solid.p95_degrees(made) < 5
    assert solid.p95_degrees(made) < 0.5 * solid.p95_degrees(plain)
    assert made.volume_mm3 == pytest.approx(raw_surface.label_volume_mm3, rel=0.0015)


def test_thick_slices_are_divided_into_an_odd_number_of_thin_ones():
    for steps_mm, counts in (
        ((1, 1, 1), [1, 1, 1]),
        ((1, 1, 2.5), [1, 1, 1]),
        ((1, 1, 2.6), [1, 1, 3]),
        ((0.29, 0.29, 1.25), [1, 1, 5]),
        ((3, 1, 1), [3, 1, 1]),
        ((0.5, 3, 0.5), [1, 7, 1]),
        ((0.1 + 0.2, 0.3, 1.2), [1, 1, 5]),
    ):
        assert slices_for_one(np.array(steps_mm)).tolist() == counts


@pytest.mark.parametrize(
    "options", [OPTIONS, MeshOptions(smoothing=0)], ids=["isotropic", "unsmoothed"]
)
def test_isotropic_voxels_and_unsmoothed_surfaces_get_no_slices(options):
    spacing_mm = (1.0, 1.0, 1.4) if options.smoothing else (1.0, 1.0, 3.0)
    raw_surface = make_raw_surface(
        grid_of(spacing_mm).mask(Cylinder(30)), grid_of(spacing_mm).place, options
    )
    assert raw_surface.raw is raw_surface.label
    assert raw_surface.slices_for_one == 1


def test_interpolation_keeps_slices_and_is_monotonic_between_them():
    inside = np.random.default_rng(0).random((7, 12, 10)) < 0.5
    counts, steps_mm = np.array([5, 1, 1]), np.array([1.5, 0.3, 0.4])
    fine = interpolate_slices(inside, counts, steps_mm)
    np.testing.assert_array_equal(fine[::5], np.pad(inside, 1))
    changes = np.diff(fine.astype(np.int8), axis=0) != 0
    assert changes.reshape(-1, 5, *changes.shape[1:]).sum(axis=1).max() == 1
    turned = interpolate_slices(inside.T, counts[::-1], steps_mm[::-1])
    np.testing.assert_array_equal(turned, fine.T)


def test_a_plateau_ends_half_way_to_the_next_slice():
    inside = np.ones((1, 40, 40), bool)
    fine = interpolate_slices(inside, np.array([3, 1, 1]), np.array([1.0, 0.3, 0.3]))
    assert np.flatnonzero(fine[:, 20, 20]).tolist() == [2, 3, 4]
    assert fine[2:5, 1:-1, 1:-1].all()


def test_distances_to_edges_equal_those_of_an_exhaustive_search():
    inside = np.random.default_rng(1).random((3, 9, 8)) < 0.3
    steps_mm, most_mm = np.array([0.5, 0.8]), 1.7
    found = edge_distance_mm(inside, steps_mm, most_mm)
    for z, y, x in np.ndindex(inside.shape):
        others = np.argwhere(inside[z] != inside[z, y, x])
        nearest = np.linalg.norm((others - [y, x]) * steps_mm, axis=1).min()
        if nearest <= most_mm:
            assert found[z, y, x] == pytest.approx(nearest - 0.25, abs=1e-5)
        else:
            assert found[z, y, x] > most_mm - 0.25
    assert (edge_distance_mm(np.zeros((1, 4, 4), bool), steps_mm, most_mm) > most_mm).all()


@pytest.mark.parametrize("run", [6, 100], ids=["leaning", "level"])
def test_a_branch_one_voxel_thick_is_kept(run):
    voxels = np.zeros((9, 30, 60), bool)
    voxels[:, 5:25, 5:25] = True
    row = np.arange(25, 55)
    for step in (0, 1):  # one voxel in both slices at each change of slice
        voxels[2 + (row - 25 + step) // run, 15, row] = True
    grid = grid_of(THICK_MM)
    raw_surface = make_raw_surface(Mask(voxels), grid.place, OPTIONS)
    made = finish(raw_surface, smooth(raw_surface, OPTIONS), OPTIONS)
    assert Topology.of(made.mesh).bodies == Topology.of(raw_surface.label).bodies == 1
    tip_mm = grid.place(np.array([[54, 15, 2 + 29 // run]]))
    assert np.linalg.norm(made.mesh.points_mm - tip_mm, axis=1).min() <= grid.half_diagonal_mm
    assert made.intersecting == 0


def test_jointly_smoothed_vertebrae_meet_half_way_between_slices():
    z, _, x = np.indices((8, 30, 30))
    upper = z + 0.1 * x > 4
    masks = [Mask(upper), Mask(~upper & (x > 10))]
    others = neighbour_masks(masks)

    def filled(*around: np.ndarray | None) -> np.ndarray:
        """Return the number of masks at each voxel, in columns that contain both masks only."""
        counts, steps_mm = np.array([5, 1, 1]), np.array([1.5, 0.3, 0.3])
        fine = [
            interpolate_slices(mask.voxels, counts, steps_mm, other)
            for mask, other in zip(masks, around, strict=True)
        ]
        return np.sum(fine, axis=0)[5:-5, 1:-1, 12:-1]

    assert (filled(*others) == 1).all()
    assert (filled(None, None) != 1).any()
