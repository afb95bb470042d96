"""Extract the unsmoothed surface of one vertebra from its voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.export.meshing import vtk_surface
from spinemamba.export.meshing.displacement import DisplacementBound
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.slice_interpolation import interpolate_slices, slices_for_one
from spinemamba.imaging.truncation import Place


@dataclass(frozen=True)
class Mask:
    """The voxels of one vertebra.

    Attributes:
        voxels: Mask, shape (z, y, x); a part of the image.
        first_xyz: Index of its first voxel in the image.
    """

    voxels: np.ndarray
    first_xyz: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True)
class RawSurface:
    """A surface before smoothing.

    Attributes:
        label: Surface half way between voxels inside and outside, LPS.
        raw: Surface to smooth: as ``label``, but with interpolated slices if slices are thick.
        index_xyz: Points of the raw surface in voxel indices, (points, 3). Touching vertebrae of
            an image have equal points.
        slices_for_one: Number of slices that replace one slice.
        voxels: Number of voxels in the mask.
        label_volume_mm3: Volume of the voxels in LPS.
        mask: The mask.
        bound: Bound of the displacement of the points of the raw surface.
    """

    label: Mesh
    raw: Mesh
    index_xyz: np.ndarray
    slices_for_one: int
    voxels: int
    label_volume_mm3: float
    mask: Mask
    bound: DisplacementBound


def make_raw_surface(
    mask: Mask, place: Place, options: MeshOptions, other: np.ndarray | None = None
) -> RawSurface:
    """Return the unsmoothed surface of a mask in LPS.

    Args:
        mask: The voxels.
        place: Maps voxel indices to LPS.
        options: Options of the surface. Slices are interpolated only if it will be smoothed.
        other: Mask of other vertebrae that share borders, in the shape of the mask padded by one
            voxel on every side; None if borders are not shared.

    Raises:
        ValueError: If the mask is empty.
    """
    voxels = int(np.count_nonzero(mask.voxels))
    if not voxels:
        raise ValueError("the mask is empty")
    first_xyz = np.array(mask.first_xyz)
    grid = _Grid(first_xyz, np.ones(3, int), place)
    label, half_steps = grid.surface(mask.voxels)
    # The ratio of volumes in LPS and in voxels is exact for every affine transform.
    scale = label.volume_mm3 / abs(label.moved_to(half_steps / 2).volume_mm3)
    low, high = half_steps.min(axis=0), half_steps.max(axis=0)
    raw, steps_mm = label, grid.steps_mm((low + high)[None] / 4)[0]
    counts = slices_for_one(steps_mm)
    if options.smoothing and counts.max() > 1:
        grid = _Grid((first_xyz - 1) * counts, counts, place)
        interpolated = interpolate_slices(mask.voxels, counts[::-1], steps_mm[::-1], other)
        raw, half_steps = grid.surface(interpolated)
    index_xyz, count = half_steps / (2 * grid.counts), int(grid.counts.max())
    bound = grid.displacement_bound(half_steps)
    return RawSurface(label, raw, index_xyz, count, voxels, voxels * scale, mask, bound)


@dataclass(frozen=True)
class _Grid:
    """Voxel grid of a part of an image, with or without interpolated slices.

    Attributes:
        first_xyz: Index of the first voxel, shape (3,).
        counts: Number of voxels that replace one voxel of the image along x, y and z, shape (3,).
        image_place: Maps voxel indices of the image to LPS.
    """

    first_xyz: np.ndarray
    counts: np.ndarray
    image_place: Place

    def surface(self, voxels: np.ndarray) -> tuple[Mesh, np.ndarray]:
        """Return the surface of voxels, and its points in half voxels, as integers."""
        local = vtk_surface.surface_of(voxels)
        half_steps = np.rint(2 * (local.points_mm + self.first_xyz)).astype(np.int64)
        return local.moved_to(self._place(half_steps)).facing_outwards(), half_steps

    def steps_mm(self, index_xyz: np.ndarray) -> np.ndarray:
        """Return the voxel size along x, y and z at some positions in the image, (n, 3)."""
        steps_mm = [
            self.image_place(index_xyz + axis / 2) - self.image_place(index_xyz - axis / 2)
            for axis in np.eye(3)
        ]
        return np.linalg.norm(steps_mm, axis=2).T

    def displacement_bound(self, half_steps: np.ndarray) -> DisplacementBound:
        """Return the displacement bound of points, relative to the two voxels of each."""
        odd = half_steps % 2  # 1 along the axis on which a point lies between two voxels
        # Points half way between slices of the image (ends of plateaus) use the image's voxels.
        step = np.where(half_steps % (2 * self.counts) == self.counts, self.counts, 1) * odd
        half_diagonal_mm = np.linalg.norm(self.steps_mm(half_steps / (2 * self.counts)), axis=1) / 2
        inside_mm, outside_mm = self._place(half_steps - step), self._place(half_steps + step)
        return DisplacementBound(inside_mm, outside_mm, half_diagonal_mm)

    def _place(self, half_steps: np.ndarray) -> np.ndarray:
        return self.image_place(half_steps / (2 * self.counts))
