"""From the voxels of one vertebra to a surface that is not smooth yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.export.meshing import vtk_surface
from spinemamba.export.meshing.displacement import Reach
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.slice_interpolation import slices_for_one, with_slices_between
from spinemamba.imaging.truncation import Place


@dataclass(frozen=True)
class Mask:
    """The voxels of one vertebra.

    Attributes:
        voxels: Not 0 inside, shape (z, y, x); a part of the image.
        first_xyz: Place of its first voxel in the image.
    """

    voxels: np.ndarray
    first_xyz: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True)
class Draft:
    """A surface before smoothing.

    Attributes:
        label: Surface half way between voxels inside and outside, LPS.
        raw: What is smoothed: the same, but with new slices between thick ones.
        numbers_xyz: Points of the raw surface in voxels, (points, 3): equal where two vertebrae of
            an image touch.
        slices_for_one: How many slices took the place of one.
        voxels: How many voxels are inside.
        label_volume_mm3: Their volume, where the image lies.
        mask: What it was made of.
        reach: How far points of the raw surface may go.
    """

    label: Mesh
    raw: Mesh
    numbers_xyz: np.ndarray
    slices_for_one: int
    voxels: int
    label_volume_mm3: float
    mask: Mask
    reach: Reach


def draft_of(
    mask: Mask, place: Place, options: MeshOptions, other: np.ndarray | None = None
) -> Draft:
    """Return the surface of a mask where the image lies.

    Args:
        mask: The voxels.
        place: Where they lie.
        options: Without smoothing, the steps between voxels stay as they are.
        other: Whether voxels belong to another vertebra whose surface has to fit, in the shape of
            the mask with one voxel more on every side; None if none has to.

    Raises:
        ValueError: If the mask is empty.
    """
    voxels = int(np.count_nonzero(mask.voxels))
    if not voxels:
        raise ValueError("the mask is empty")
    first_xyz = np.array(mask.first_xyz)
    grid = _Grid(first_xyz, np.ones(3, int), place)
    label, half_steps = grid.surface(mask.voxels)
    # Voxels count in the image, millimetres where it lies: exact under every affine transform.
    scale = label.volume_mm3 / abs(label.moved_to(half_steps / 2).volume_mm3)
    low, high = half_steps.min(axis=0), half_steps.max(axis=0)
    raw, steps_mm = label, grid.steps_mm((low + high)[None] / 4)[0]
    counts = slices_for_one(steps_mm)
    if options.smoothing and counts.max() > 1:
        grid = _Grid((first_xyz - 1) * counts, counts, place)
        finer = with_slices_between(mask.voxels, counts[::-1], steps_mm[::-1], other)
        raw, half_steps = grid.surface(finer)
    numbers_xyz, count = half_steps / (2 * grid.counts), int(grid.counts.max())
    reach = grid.reach(half_steps)
    return Draft(label, raw, numbers_xyz, count, voxels, voxels * scale, mask, reach)


@dataclass(frozen=True)
class _Grid:
    """Voxels of a part of an image, or of one with new slices between thick ones.

    Attributes:
        first_xyz: Number of the first voxel, shape (3,).
        counts: How many voxels take the place of one of the image along x, y and z, shape (3,).
        image_place: Where voxels of the image lie.
    """

    first_xyz: np.ndarray
    counts: np.ndarray
    image_place: Place

    def surface(self, voxels: np.ndarray) -> tuple[Mesh, np.ndarray]:
        """Return the surface of voxels, and its points in halves of voxels: whole numbers."""
        local = vtk_surface.surface_of(voxels)
        half_steps = np.rint(2 * (local.points_mm + self.first_xyz)).astype(np.int64)
        return local.moved_to(self._place(half_steps)).facing_outwards(), half_steps

    def steps_mm(self, numbers_xyz: np.ndarray) -> np.ndarray:
        """Return the size along x, y and z of voxels of the image at some places, (places, 3)."""
        steps_mm = [
            self.image_place(numbers_xyz + axis / 2) - self.image_place(numbers_xyz - axis / 2)
            for axis in np.eye(3)
        ]
        return np.linalg.norm(steps_mm, axis=2).T

    def reach(self, half_steps: np.ndarray) -> Reach:
        """Return how far the points of a surface may go: from its voxels, as far as the image's."""
        odd = half_steps % 2  # 1 along the axis on which a point lies between two voxels
        # Half way between slices of the image, where plateaus end, the voxels there are its own.
        away = np.where(half_steps % (2 * self.counts) == self.counts, self.counts, 1) * odd
        half_diagonal_mm = np.linalg.norm(self.steps_mm(half_steps / (2 * self.counts)), axis=1) / 2
        inside_mm, outside_mm = self._place(half_steps - away), self._place(half_steps + away)
        return Reach(inside_mm, outside_mm, half_diagonal_mm)

    def _place(self, half_steps: np.ndarray) -> np.ndarray:
        return self.image_place(half_steps / (2 * self.counts))
