"""Local coordinate frame of a vertebra, and the label image around it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from spinemamba.imaging.truncation import SIDES as IMAGE_SIDES
from spinemamba.imaging.volume import Box, Geometry, Volume

_MARGIN_MM = 12.0
"""Margin of a patch around its vertebra."""

_STEP_MM = 0.25
"""Step along a ray; crossings are interpolated between two steps."""


_MOST_POINTS = 2000

_FINE_MM = 1.0
"""Smaller voxels are subsampled, because labels are not more accurate."""


@dataclass(frozen=True)
class Frame:
    """An orthonormal coordinate frame.

    Attributes:
        centre_lps_mm: Origin, (3,).
        axes_lps: Rows are the left, posterior and superior axis of the vertebra, (3, 3).
    """

    centre_lps_mm: np.ndarray
    axes_lps: np.ndarray

    @classmethod
    def along(cls, centre_lps_mm: np.ndarray, up: np.ndarray, posterior: np.ndarray) -> Frame:
        """Return the frame with superior axis ``up`` and a posterior axis near the given one."""
        up = unit(up)
        posterior = unit(posterior - (posterior @ up) * up)
        return cls(
            np.asarray(centre_lps_mm, float), np.array([np.cross(posterior, up), posterior, up])
        )

    @property
    def up(self) -> np.ndarray:
        """Superior axis."""
        return self.axes_lps[2]

    @property
    def posterior(self) -> np.ndarray:
        """Posterior axis."""
        return self.axes_lps[1]

    def to_local(self, points_lps_mm: np.ndarray) -> np.ndarray:
        """Return points (..., 3) in the frame: mm along left, posterior and superior."""
        return (points_lps_mm - self.centre_lps_mm) @ self.axes_lps.T

    def to_lps(self, points_mm: np.ndarray) -> np.ndarray:
        """Return points (..., 3) of the frame in LPS."""
        return np.asarray(points_mm, float) @ self.axes_lps + self.centre_lps_mm

    def moved(self, offset_mm: tuple[float, float, float]) -> Frame:
        """Return a frame with the same axes and an origin given in this frame."""
        return Frame(self.to_lps(np.array(offset_mm)), self.axes_lps)


def unit(vector: np.ndarray) -> np.ndarray:
    """Return the normalised vector."""
    return vector / np.linalg.norm(vector)


@dataclass(frozen=True)
class Patch:
    """The part of a label image around one vertebra.

    Attributes:
        inside: Mask of the vertebra, (z, y, x), float32.
        geometry: Grid of ``inside``.
        box: Bounding box of the vertebra in the whole image.
        shown: First and last index in ``geometry`` inside the field of view, (2, 3).
    """

    inside: np.ndarray
    geometry: Geometry
    box: Box
    shown: np.ndarray

    @classmethod
    def of(cls, labels: Volume, value: int, box: Box, sides: Collection[str] = ()) -> Patch:
        """Return the patch of a label value.

        Args:
            labels: Label image in canonical orientation.
            value: Label value.
            box: Bounding box of its voxels.
            sides: Sides at which it is truncated. The patch ends there, even if the array does
                not.
        """
        wider, ends = [], []
        axes = zip(box, labels.spacing_mm, labels.array.shape, IMAGE_SIDES, strict=True)
        for part, spacing, count, (backwards, forwards) in axes:
            margin = int(np.ceil(_MARGIN_MM / spacing))
            first = part.start if backwards in sides else 0
            stop = part.stop if forwards in sides else count
            wider.append(slice(max(first, part.start - margin), min(stop, part.stop + margin)))
            ends.append((first - wider[-1].start, stop - 1 - wider[-1].start))
        cut = tuple(wider)
        steps = [max(1, int(_FINE_MM / spacing)) for spacing in labels.spacing_mm]
        inside = labels.array[cut][tuple(slice(None, None, k) for k in steps)] == value
        origin = labels.geometry.to_lps_mm([part.start for part in cut])
        geometry = replace(
            labels.geometry,
            shape=inside.shape,
            spacing_mm=tuple(s * k for s, k in zip(labels.spacing_mm, steps, strict=True)),
            origin_lps_mm=tuple(map(float, origin)),
        )
        shown = np.array(ends, float).T / steps
        return cls(inside.astype(np.float32), geometry, box, shown)

    @cached_property
    def points_lps_mm(self) -> np.ndarray:
        """Centres of the vertebra's voxels, subsampled to about `_MOST_POINTS`."""
        index = np.argwhere(self.inside > 0.5)
        return self.geometry.to_lps_mm(index[:: max(1, len(index) // _MOST_POINTS)])

    def step_mm(self, direction_lps: np.ndarray) -> float:
        """Return the extent of a voxel along a direction."""
        parts = np.abs(np.asarray(self.geometry.direction_lps).T @ direction_lps)[::-1]
        return float(parts @ np.asarray(self.geometry.spacing_mm))

    def near(
        self, frame: Frame, half_size_mm: tuple[float, float, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the voxels in a box around a frame.

        Args:
            frame: Centre and axes of the box.
            half_size_mm: Half the size of the box along the axes.

        Returns:
            Voxel centres in the frame, (n, 3), and whether each is in the vertebra, (n,).
        """
        corners = np.array(np.meshgrid(*[(-r, r) for r in half_size_mm])).reshape(3, -1).T
        index = self.geometry.to_index_zyx(frame.to_lps(corners))
        low = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, self.inside.shape)
        box = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
        grid = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), -1)
        points = frame.to_local(self.geometry.to_lps_mm(grid.reshape(-1, 3)))
        within = (np.abs(points) <= half_size_mm).all(axis=1)
        return points[within], self.inside[box].reshape(-1)[within] > 0.5

    def share(self, points_lps_mm: np.ndarray) -> np.ndarray:
        """Return the mask at points (..., 3), interpolated linearly, in [0, 1]."""
        index = np.moveaxis(self.geometry.to_index_zyx(points_lps_mm), -1, 0)
        return ndimage.map_coordinates(self.inside, index, order=1)

    def exits_mm(
        self, starts_lps_mm: np.ndarray, direction_lps: np.ndarray, length_mm: float
    ) -> np.ndarray:
        """Return the distance from each start (n, 3) to where a ray leaves the vertebra.

        Returns:
            Distances (n,); NaN if the start is outside, or the ray does not leave the vertebra.
        """
        values, steps = self._along(starts_lps_mm, direction_lps, length_mm)
        return _first_below(values, steps)

    def entries_mm(
        self, starts_lps_mm: np.ndarray, direction_lps: np.ndarray, length_mm: float
    ) -> np.ndarray:
        """Return the distance from each start (n, 3), outside, to the vertebra; NaN if none."""
        values, steps = self._along(starts_lps_mm, direction_lps, length_mm)
        return _first_below(1 - values, steps)

    def _along(
        self, starts: np.ndarray, direction: np.ndarray, length_mm: float
    ) -> tuple[np.ndarray, np.ndarray]:
        steps = np.arange(0.0, length_mm + _STEP_MM, _STEP_MM)
        return self.share(starts[:, None] + steps[None, :, None] * direction), steps

    def shows(self, points_lps_mm: np.ndarray) -> np.ndarray:
        """Return which points (..., 3) are inside the field of view."""
        index = self.geometry.to_index_zyx(points_lps_mm)
        return ((index >= self.shown[0]) & (index <= self.shown[1])).all(axis=-1)


def _first_below(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the interpolated position where each row first falls below 0.5; NaN if it does not."""
    low = values < 0.5
    first = np.argmax(low, axis=1)
    known = low.any(axis=1) & (first > 0)
    k = np.maximum(first, 1)
    rows = np.arange(len(values))
    before, after = values[rows, k - 1], values[rows, k]
    share = (before - 0.5) / np.maximum(before - after, 1e-9)
    return np.where(known, steps[k - 1] + share * (steps[1] - steps[0]), np.nan)
