"""Solids with analytic surfaces, their masks on any grid, and the distance of a mesh to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.raw_surface import Mask


@dataclass(frozen=True)
class Grid:
    """An affine voxel grid.

    Attributes:
        axes_mm: Columns are the steps of x, y, z in LPS.
        origin_mm: Middle of the first voxel.
        size_xyz: Voxels.
    """

    axes_mm: np.ndarray
    origin_mm: np.ndarray
    size_xyz: tuple[int, int, int]

    def place(self, index_xyz: np.ndarray) -> np.ndarray:
        """Return the LPS positions of indices, (n, 3)."""
        return index_xyz @ self.axes_mm.T + self.origin_mm

    @property
    def half_diagonal_mm(self) -> float:
        """Half the diagonal of a voxel."""
        return float(np.linalg.norm(np.linalg.norm(self.axes_mm, axis=0)) / 2)

    def mask(self, solid: Solid) -> Mask:
        """Return the voxels whose centres lie in a solid."""
        index = np.indices(self.size_xyz).reshape(3, -1).T
        inside = solid.distance_mm(self.place(index)) < 0
        return Mask(inside.reshape(self.size_xyz).transpose(2, 1, 0))


def random_grid(seed: int, spacing_mm: tuple[float, float, float], *, left: bool = False) -> Grid:
    """Return an oblique grid around the origin that holds every solid of this file."""
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    turn[:, 0] *= np.sign(np.linalg.det(turn)) * (-1 if left else 1)
    size = tuple(int(np.ceil(68 / step)) for step in spacing_mm)
    axes = turn * spacing_mm
    return Grid(axes, random.uniform(-1, 1, 3) - axes @ np.array(size) / 2, size)


class Solid:
    """A solid by its signed distance; inside is negative."""

    volume_mm3: float

    def distance_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the signed distances of points (n, 3); negative inside."""
        raise NotImplementedError

    def surface_mm(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Return random points of the surface."""
        raise NotImplementedError

    def largest_distance_mm(self, mesh: Mesh) -> float:
        """Return the largest distance of the mesh from the surface."""
        return float(np.abs(self.distance_mm(mesh.points_mm)).max())


class Sphere(Solid):
    """A sphere off the origin."""

    radius = 20.0
    middle = np.array([4.0, -3.0, 2.0])
    volume_mm3 = 4 / 3 * np.pi * radius**3

    def distance_mm(self, points_mm):
        return np.linalg.norm(points_mm - self.middle, axis=1) - self.radius

    def surface_mm(self, count, random):
        out = random.normal(size=(count, 3))
        return self.middle + self.radius * out / np.linalg.norm(out, axis=1, keepdims=True)


class Torus(Solid):
    """A torus around the z axis."""

    ring, tube = 20.0, 8.0
    volume_mm3 = 2 * np.pi**2 * ring * tube**2

    def distance_mm(self, points_mm):
        across = np.linalg.norm(points_mm[:, :2], axis=1) - self.ring
        return np.hypot(across, points_mm[:, 2]) - self.tube

    def surface_mm(self, count, random):
        a, b = random.uniform(0, 2 * np.pi, (2, count))
        across = self.ring + self.tube * np.cos(b)
        return np.stack([across * np.cos(a), across * np.sin(a), self.tube * np.sin(b)], axis=1)


class DrilledBox(Solid):
    """A box with an eccentric hole and a missing corner, which differs from its mirror images."""

    half = np.array([22.0, 17.0, 13.0])
    hole_xy, radius = np.array([6.0, 4.0]), 7.0
    notch = np.array([14.0, 10.0, 7.0])
    volume_mm3 = 8 * 22 * 17 * 13 - np.pi * 7**2 * 26 - 8 * 7 * 6

    def distance_mm(self, points_mm):
        over = np.abs(points_mm) - self.half
        outside = np.linalg.norm(np.maximum(over, 0), axis=1) + np.minimum(over.max(axis=1), 0)
        bored = self.radius - np.linalg.norm(points_mm[:, :2] - self.hole_xy, axis=1)
        # The missing corner distinguishes the two ends of the hole.
        corner = (points_mm - self.notch).min(axis=1)
        return np.maximum(np.maximum(outside, bored), corner)

    def surface_mm(self, count, random):
        """Return points on a fine grid of every face, of the hole and of the notch."""
        points = random.uniform(-1, 1, (6 * count, 3)) * self.half
        axis = np.arange(len(points)) % 3
        rows = np.arange(len(points))
        points[rows, axis] = np.sign(points[rows, axis]) * self.half[axis]
        cut = random.uniform(0, 1, (count, 3)) * (self.half - self.notch) + self.notch
        cut[np.arange(count), np.arange(count) % 3] = self.notch[np.arange(count) % 3]
        angle = random.uniform(0, 2 * np.pi, count)
        circle = self.hole_xy + self.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        bore = np.column_stack([circle, random.uniform(-1, 1, count) * self.half[2]])
        every = np.concatenate([points, bore, cut])
        return every[np.abs(self.distance_mm(every)) < 1e-6]

    @cached_property
    def tree(self) -> cKDTree:
        """Many points of the surface."""
        return cKDTree(self.surface_mm(60000, np.random.default_rng(0)))

    def largest_distance_mm(self, mesh):
        # The analytic distance is only a lower bound beyond edges; use sampled points.
        return float(self.tree.query(mesh.points_mm)[0].max())


SOLIDS = {"sphere": Sphere(), "torus": Torus(), "drilled box": DrilledBox()}
