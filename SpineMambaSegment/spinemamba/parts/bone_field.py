"""Signed distance to the surface of one vertebra, sub-voxel, in the vertebra's own frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.measure.frame import Frame

STEP_MM = 0.5
"""Distance of the nodes: finer than labels are accurate, and 20 MB for a vertebra."""

_SMOOTH_NODES = 0.8
"""Width of the filter that removes the steps of the nodes; it shifts no plane surface."""

_MARGIN_MM = 8.0
_LOW_MM, _HIGH_MM = np.array([-40.0, -35.0, -32.0]), np.array([40.0, 62.0, 32.0])
"""Largest extent of the field around the body: the tips of long processes carry no screw."""

_FAR_MM = 3.0
"""Depth given to places outside of the label image: not in bone."""


@dataclass(frozen=True)
class BoneField:
    """Depth below the bone's surface at the nodes of a grid along the axes of a frame.

    Attributes:
        frame: Frame of the vertebra; local coordinates are left, posterior, superior in mm.
        first_mm: Local position of the first node, (3,).
        depth_mm: Distance to the surface, positive in bone, (z, y, x), float32.
        inside: Mask of the vertebra on the grid of the labels, (z, y, x), bool.
        geometry: Grid of ``inside``.
    """

    frame: Frame
    first_mm: np.ndarray
    depth_mm: np.ndarray
    inside: np.ndarray
    geometry: Geometry

    @classmethod
    def of(cls, labels: Volume, value: int, frame: Frame) -> BoneField:
        """Return the field of a label value.

        The signed distances of the voxels are interpolated at the nodes, which interpolates shapes
        between thick slices; distances are then computed again between the nodes, because those
        of anisotropic voxels depend on the direction.

        Raises:
            ValueError: If no voxel has the value.
        """
        inside, geometry = _mask_of(labels, value)
        spacing = np.asarray(geometry.spacing_mm)
        rough = _signed(inside, spacing, 0.0)
        index = np.argwhere(inside)
        local = frame.to_local(geometry.to_lps_mm(index[:: max(1, len(index) // 20000)]))
        low = np.maximum(np.floor(local.min(axis=0)) - _MARGIN_MM, _LOW_MM)
        high = np.minimum(local.max(axis=0) + _MARGIN_MM, _HIGH_MM)
        counts = np.ceil((high - low) / STEP_MM).astype(int) + 1
        nodes = _resampled(rough, geometry, frame, (low, counts))
        return cls(frame, low, smooth_distance(nodes > 0), inside, geometry)

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the depth at local points (..., 3), interpolated linearly; far points are out."""
        index = (np.moveaxis(np.asarray(points_mm, float), -1, 0)[::-1].T - self.first_mm[::-1]).T
        return ndimage.map_coordinates(
            self.depth_mm, index / STEP_MM, order=1, mode="constant", cval=-_FAR_MM
        )

    def axes_mm(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the local coordinates of the nodes along left, posterior and superior."""
        counts = self.depth_mm.shape[::-1]
        return tuple(
            low + STEP_MM * np.arange(n) for low, n in zip(self.first_mm, counts, strict=True)
        )

    def voxels_near(self, centre_mm: np.ndarray, radius_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the voxels in a cube around a local point.

        Returns:
            Voxel centres in the frame, (n, 3), and whether each is in the vertebra, (n,).
        """
        middle = self.geometry.to_index_zyx(self.frame.to_lps(centre_mm))
        reach = radius_mm / np.asarray(self.geometry.spacing_mm)
        low = np.maximum(np.ceil(middle - reach).astype(int), 0)
        high = np.minimum(np.floor(middle + reach).astype(int) + 1, self.inside.shape)
        box = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
        grid = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), -1)
        points = self.frame.to_local(self.geometry.to_lps_mm(grid.reshape(-1, 3)))
        return points, self.inside[box].reshape(-1)

    @property
    def voxel_mm(self) -> float:
        """Mean size of a voxel of the labels."""
        return float(np.prod(self.geometry.spacing_mm) ** (1 / 3))


def _mask_of(labels: Volume, value: int) -> tuple[np.ndarray, Geometry]:
    """Return the mask of a label value with a margin of background, and its grid."""
    index = [np.flatnonzero((labels.array == value).any(axis=other)) for other in _OTHERS]
    if not len(index[0]):
        raise ValueError(f"no voxel has the label value {value}")
    pads = [int(np.ceil(_MARGIN_MM / step)) for step in labels.spacing_mm]
    low = [int(i[0]) - pad for i, pad in zip(index, pads, strict=True)]
    high = [int(i[-1]) + 1 + pad for i, pad in zip(index, pads, strict=True)]
    shape = tuple(b - a for a, b in zip(low, high, strict=True))
    inside = np.zeros(shape, bool)
    within = [
        slice(max(a, 0), min(b, n)) for a, b, n in zip(low, high, labels.array.shape, strict=True)
    ]
    there = tuple(slice(s.start - a, s.stop - a) for s, a in zip(within, low, strict=True))
    inside[there] = labels.array[tuple(within)] == value
    origin = tuple(map(float, labels.geometry.to_lps_mm(np.array(low))))
    return inside, Geometry(shape, labels.spacing_mm, origin, labels.geometry.direction_lps)


_OTHERS = ((1, 2), (0, 2), (0, 1))
"""The two other axes of each axis."""


def smooth_distance(inside: np.ndarray) -> np.ndarray:
    """Return the depth below the surface of a mask on nodes `STEP_MM` apart, float32."""
    depth = _signed(inside, np.full(3, STEP_MM), STEP_MM / 2)
    return ndimage.gaussian_filter(depth, _SMOOTH_NODES, output=np.float32)


def _signed(inside: np.ndarray, spacing_mm: np.ndarray, half_mm: float) -> np.ndarray:
    """Return the distance to the nearest voxel of the other kind, positive inside."""
    deep = ndimage.distance_transform_edt(inside, sampling=spacing_mm)
    outer = ndimage.distance_transform_edt(~inside, sampling=spacing_mm)
    return np.where(inside, deep - half_mm, half_mm - outer).astype(np.float32)


def _resampled(
    values: np.ndarray, geometry: Geometry, frame: Frame, nodes: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return values of a grid at the nodes of a frame: first position and counts along x, y, z."""
    low, counts = nodes
    first = geometry.to_index_zyx(frame.to_lps(low))
    steps = [
        geometry.to_index_zyx(frame.to_lps(low + STEP_MM * axis)) - first
        for axis in np.eye(3)[::-1]
    ]
    return ndimage.affine_transform(
        values,
        np.array(steps).T,
        first,
        output_shape=tuple(counts[::-1]),
        order=1,
        mode="nearest",
    )
