"""A 3-D image with its geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

Box = tuple[slice, slice, slice]
"""Bounding box of voxels along z, y, x; its slices have a start and a stop."""

GRID_TOLERANCE_VOX = 0.05
"""Largest distance between corresponding voxels of two grids that count as equal.

Headers are rounded: 0.7031 instead of 0.703125 mm moves the last of 512 voxels by 0.02 voxels.
"""


@dataclass(frozen=True)
class Geometry:
    """Position, orientation and size of a voxel grid in the patient.

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

    def scaled(self, factor: float) -> Geometry:
        """Return the grid of an object ``factor`` times as large, about the origin of LPS."""
        spacing_mm = tuple(factor * mm for mm in self.spacing_mm)
        origin_lps_mm = tuple(factor * mm for mm in self.origin_lps_mm)
        return replace(self, spacing_mm=spacing_mm, origin_lps_mm=origin_lps_mm)

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

    def gap_vox(self, other: Geometry) -> float:
        """Return the largest distance between corresponding corners of two grids, in voxels."""
        # Only the gap is projected on the axes: those of a file are orthogonal up to rounding.
        gap_xyz_mm = self._corner_gaps_mm(other) @ np.asarray(self.direction_lps)
        return float(np.abs(gap_xyz_mm[:, ::-1] / np.asarray(self.spacing_mm)).max())

    def matches(self, other: Geometry) -> bool:
        """Return whether both grids are equal up to rounding."""
        return not self.difference(other)

    def difference(self, other: Geometry) -> str:
        """Describe how another grid differs from this one. Empty if they match."""
        if self.shape != other.shape:
            sizes = (" x ".join(map(str, grid.shape[::-1])) for grid in (self, other))
            return "{} and {} voxels".format(*sizes)
        gap_vox = max(self.gap_vox(other), other.gap_vox(self))
        if gap_vox <= GRID_TOLERANCE_VOX:
            return ""
        gap_mm = np.linalg.norm(self._corner_gaps_mm(other), axis=1).max()
        return f"{self._reason(other)}, so that voxels lie up to {gap_mm:.2g} mm apart"

    def _corner_gaps_mm(self, other: Geometry) -> np.ndarray:
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        return other.to_lps_mm(corners) - self.to_lps_mm(corners)

    def _reason(self, other: Geometry) -> str:
        """Describe the part of the geometry that differs most between grids of one shape."""
        turned = replace(self, direction_lps=other.direction_lps)
        scaled = replace(self, spacing_mm=other.spacing_mm)
        moved = replace(self, origin_lps_mm=other.origin_lps_mm)
        gaps_vox = [self.gap_vox(grid) for grid in (scaled, turned, moved)]
        if gaps_vox[0] == max(gaps_vox):
            one, two = distinct_texts(self.spacing_mm[::-1], other.spacing_mm[::-1])
            return f"voxels of {one} and {two} mm"
        if gaps_vox[1] == max(gaps_vox):
            angles = np.einsum("ij,ij->j", self.direction_lps, other.direction_lps)
            degrees = np.degrees(np.arccos(np.clip(angles, -1, 1))).max()
            return f"axes rotated by {degrees:.2g} degrees"
        one, two = distinct_texts(self.origin_lps_mm, other.origin_lps_mm, ", ")
        return f"first voxels at {one} and at {two} mm (LPS)"


def distinct_texts(
    one: Sequence[float], two: Sequence[float], between: str = " x "
) -> tuple[str, str]:
    """Format two rows of numbers with enough digits to show how they differ."""
    for digits in range(4, 18):
        texts = tuple(between.join(f"{v:.{digits}g}" for v in row) for row in (one, two))
        if texts[0] != texts[1]:
            break
    return texts


@dataclass(frozen=True)
class Volume:
    """A 3-D array and its geometry.

    Attributes:
        array: Values, shape (z, y, x).
        geometry: Grid of the array, of the same shape.
        modality: "ct" or "mr" if the file states it, else None.
        frame: SHA-256 of the DICOM Frame of Reference UID: scans with the same one have the same
            coordinates. None if the file does not state it.
        sequence: Kind of the MR sequence if the file states it, else None.
    """

    array: np.ndarray
    geometry: Geometry
    modality: str | None = None
    frame: str | None = None
    sequence: str | None = None

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise ValueError(f"array is {self.array.shape}, geometry is {self.geometry.shape}")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along z, y, x."""
        return self.geometry.spacing_mm

    def with_array(self, array: np.ndarray) -> Volume:
        """Return a volume with new values on the same grid."""
        return replace(self, array=array)

    def on(self, grid: Geometry) -> Volume:
        """Return the volume with its geometry replaced by an equal one, to remove rounding.

        Raises:
            ValueError: If the grids do not match.
        """
        if difference := grid.difference(self.geometry):
            raise ValueError(f"the grids differ: {difference}")
        return replace(self, geometry=grid)
