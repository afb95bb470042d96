"""Voxel grid of a volume in its own RAS, that is before parent transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class Grid:
    """A voxel grid.

    Attributes:
        ijkToRas: Matrix (4, 4) from voxel indices i, j, k to RAS in mm.
        size: Number of voxels along i, j, k.
    """

    ijkToRas: np.ndarray
    size: tuple[int, int, int]

    def cut(self, extent: tuple[int, int, int, int, int, int]) -> Grid:
        """Return the part between first and last voxels (i, i, j, j, k, k), inclusive."""
        first, last = np.array(extent[::2]), np.array(extent[1::2])
        matrix = self.ijkToRas.copy()
        matrix[:3, 3] += matrix[:3, :3] @ first
        return Grid(matrix, tuple(int(n) for n in last - first + 1))

    def extentAround(
        self, lowRas: np.ndarray, highRas: np.ndarray
    ) -> tuple[int, int, int, int, int, int]:
        """Return the first and last voxels (i, i, j, j, k, k) of a RAS box, clipped to the grid.

        Args:
            lowRas: Lowest R, A, S of the box, in mm.
            highRas: Highest R, A, S of the box, in mm.
        """
        corners = np.array(np.meshgrid(*zip(lowRas, highRas, strict=True))).reshape(3, -1).T
        ijk = self.toIjk(corners)
        last = np.array(self.size) - 1
        first = np.clip(np.floor(ijk.min(axis=0)), 0, last).astype(int)
        stop = np.clip(np.ceil(ijk.max(axis=0)), 0, last).astype(int)
        return tuple(int(n) for pair in zip(first, stop, strict=True) for n in pair)

    def subdivided(self, counts: Sequence[int]) -> Grid:
        """Return the grid with every voxel divided along i, j, k into this many."""
        steps = np.array(counts)
        matrix = self.ijkToRas.copy()
        matrix[:3, :3] /= steps
        matrix[:3, 3] += self.ijkToRas[:3, :3] @ ((1 / steps - 1) / 2)
        return Grid(matrix, tuple(int(n) for n in np.array(self.size) * steps))

    def isSubdivisionOf(self, other: Grid) -> bool:
        """Return True if every voxel of another grid is divided into a whole number of voxels."""
        counts, rest = np.divmod(self.size, other.size)
        return not rest.any() and bool(counts.all()) and self.isSameAs(other.subdivided(counts))

    def toIjk(self, ras: np.ndarray) -> np.ndarray:
        """Return the fractional voxel indices i, j, k of RAS coordinates, shape (..., 3)."""
        matrix = np.linalg.inv(self.ijkToRas)
        return np.asarray(ras, float) @ matrix[:3, :3].T + matrix[:3, 3]

    def corners(self) -> np.ndarray:
        """Return the centres of the eight corner voxels in RAS, shape (8, 3)."""
        ends = [(0, n - 1) for n in self.size]
        ijk = np.array(np.meshgrid(*ends)).reshape(3, -1).T
        return ijk @ self.ijkToRas[:3, :3].T + self.ijkToRas[:3, 3]

    def isSameAs(self, other: Grid) -> bool:
        """Return True if the corner voxels have the same positions.

        Matrices are not compared, because Slicer's reader may reverse an axis to make a grid
        right-handed.
        """
        distances_mm = np.linalg.norm(self.corners()[:, None] - other.corners()[None, :], axis=-1)
        match = bool(distances_mm.min(axis=1).max() <= TOLERANCE_MM)
        return sorted(self.size) == sorted(other.size) and match


def gridOf(volumeNode: slicer.vtkMRMLVolumeNode) -> Grid:
    """Return the grid of a non-empty volume."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return Grid(matrixArray(matrix), volumeNode.GetImageData().GetDimensions())


def referenceGrid(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Grid | None:
    """Return the grid of the image that a segmentation states as its geometry, or None."""
    image = slicer.vtkOrientedImageData()
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    text = segmentationNode.GetSegmentation().GetConversionParameter(name)
    deserialize = slicer.vtkSegmentationConverter.DeserializeImageGeometry
    if not text or not deserialize(text, image, False):
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    if 0 in image.GetDimensions():
        return None
    return Grid(matrixArray(matrix), image.GetDimensions()).cut(image.GetExtent())


def fineGrid(image: slicer.vtkOrientedImageData, grid: Grid) -> Grid:
    """Return the subdivision of a grid on which an image lies; axes may be reversed."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    old, new = (np.linalg.norm(m[:3, :3], axis=0) for m in (grid.ijkToRas, matrixArray(matrix)))
    return grid.subdivided(np.rint(old / new).astype(int))


def setReferenceGrid(segmentationNode: slicer.vtkMRMLSegmentationNode, grid: Grid) -> None:
    """Let new segments and edits of a segmentation use a grid; its reference volume stays."""
    image, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    matrix.DeepCopy(grid.ijkToRas.ravel())
    i, j, k = (n - 1 for n in grid.size)
    image.SetExtent(0, i, 0, j, 0, k)
    image.SetImageToWorldMatrix(matrix)
    converter = slicer.vtkSegmentationConverter
    name = converter.GetReferenceImageGeometryParameterName()
    text = converter.SerializeImageGeometry(image)
    segmentationNode.GetSegmentation().SetConversionParameter(name, text)


def matrixArray(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """Return a VTK matrix as a NumPy array (4, 4)."""
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
