"""A 3-D image with its place in the patient."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """Where a voxel grid lies in the patient.

    Attributes:
        shape: Voxels along z, y, x.
        spacing_mm: Distance between voxel centres along z, y, x.
        origin_lps_mm: Centre of the first voxel: left, posterior, superior.
        direction_lps: Orthonormal 3x3 matrix; its columns are the directions of the x, y, z
            index axes in LPS (SimpleITK's order).
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_lps_mm: tuple[float, float, float]
    direction_lps: np.ndarray

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing_mm))

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return self.voxel_mm3 / 1000

    def to_lps_mm(self, index_zyx: np.ndarray) -> np.ndarray:
        """Return the position in LPS millimetres of (fractional) voxel indices.

        Args:
            index_zyx: Indices along z, y, x; shape (..., 3).

        Returns:
            Positions in LPS, shape (..., 3).
        """
        offset_xyz_mm = (np.asarray(index_zyx, float) * np.asarray(self.spacing_mm))[..., ::-1]
        return offset_xyz_mm @ np.asarray(self.direction_lps).T + np.asarray(self.origin_lps_mm)

    def to_index_zyx(self, position_lps_mm: np.ndarray) -> np.ndarray:
        """Return fractional voxel indices (z, y, x) of positions in LPS, shape (..., 3)."""
        offset = np.asarray(position_lps_mm, float) - np.asarray(self.origin_lps_mm)
        return (offset @ np.asarray(self.direction_lps))[..., ::-1] / np.asarray(self.spacing_mm)

    def matches(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Return whether both grids have equal shape and equal corners within the tolerance."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        gap_mm = self.to_lps_mm(corners) - other.to_lps_mm(corners)
        return bool(np.abs(gap_mm).max() <= tolerance_mm)


@dataclass(frozen=True)
class Volume:
    """A 3-D array and its geometry.

    Attributes:
        array: Values, shape (z, y, x).
        geometry: Place of the grid; its shape equals the array's.
    """

    array: np.ndarray
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise ValueError(f"array is {self.array.shape}, geometry is {self.geometry.shape}")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along z, y, x."""
        return self.geometry.spacing_mm

    def with_array(self, array: np.ndarray) -> Volume:
        """Return a volume with other values on the same grid."""
        return replace(self, array=array)
