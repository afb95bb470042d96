"""A vertebra's own axes, and its voxels seen from there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from spinemamba.imaging.truncation import SIDES as IMAGE_SIDES
from spinemamba.imaging.volume import Geometry, Volume

Box = tuple[slice, slice, slice]

MARGIN_MM = 12.0
"""Of a patch around its vertebra."""

STEP_MM = 0.25
"""Step along a ray; the place of a crossing is interpolated between two steps."""


MOST_POINTS = 2000

FINE_MM = 1.0
"""Of voxels finer than this, some are left out: labels are not that exact."""


@dataclass(frozen=True)
class Frame:
    """A place and three directions at right angles.

    Attributes:
        centre_lps_mm: Origin, (3,).
        axes_lps: Rows are the directions left, posterior and up of the vertebra, (3, 3).
    """

    centre_lps_mm: np.ndarray
    axes_lps: np.ndarray

    @classmethod
    def along(cls, centre_lps_mm: np.ndarray, up: np.ndarray, posterior: np.ndarray) -> Frame:
        """Return the frame whose third axis is ``up``, and whose second is nearest to the other."""
        up = unit(up)
        posterior = unit(posterior - (posterior @ up) * up)
        return cls(
            np.asarray(centre_lps_mm, float), np.array([np.cross(posterior, up), posterior, up])
        )

    @property
    def up(self) -> np.ndarray:
        """Direction of the head."""
        return self.axes_lps[2]

    @property
    def posterior(self) -> np.ndarray:
        """Direction of the back."""
        return self.axes_lps[1]

    def to_local(self, points_lps_mm: np.ndarray) -> np.ndarray:
        """Return points (..., 3) in mm to the left, to the back and up."""
        return (points_lps_mm - self.centre_lps_mm) @ self.axes_lps.T

    def to_lps(self, points_mm: np.ndarray) -> np.ndarray:
        """Return points (..., 3), given in mm to the left, to the back and up, in LPS."""
        return np.asarray(points_mm, float) @ self.axes_lps + self.centre_lps_mm

    def moved(self, offset_mm: tuple[float, float, float]) -> Frame:
        """Return the same directions around a place given in this frame."""
        return Frame(self.to_lps(np.array(offset_mm)), self.axes_lps)


def unit(vector: np.ndarray) -> np.ndarray:
    """Return the vector with length 1."""
    return vector / np.linalg.norm(vector)


@dataclass(frozen=True)
class Patch:
    """The part of a label image around one vertebra.

    Attributes:
        inside: 1 in its voxels and 0 elsewhere, (z, y, x), float32.
        geometry: Grid of ``inside``.
        box: The vertebra's voxels in the whole image.
        shown: First and last place on ``geometry`` that the image shows, along z, y, x, (2, 3).
    """

    inside: np.ndarray
    geometry: Geometry
    box: Box
    shown: np.ndarray

    @classmethod
    def of(cls, labels: Volume, value: int, box: Box, sides: Collection[str] = ()) -> Patch:
        """Return the patch of a label value that lies in a box of voxels.

        Args:
            labels: In canonical orientation.
            value: Label value.
            box: Its voxels.
            sides: Sides at which the end of the data cuts it: there the patch ends, whether or not
                the array goes on.
        """
        wider, ends = [], []
        whole = zip(box, labels.spacing_mm, labels.array.shape, IMAGE_SIDES, strict=True)
        for part, spacing, count, (backwards, forwards) in whole:
            margin = int(np.ceil(MARGIN_MM / spacing))
            first = part.start if backwards in sides else 0
            stop = part.stop if forwards in sides else count
            wider.append(slice(max(first, part.start - margin), min(stop, part.stop + margin)))
            ends.append((first - wider[-1].start, stop - 1 - wider[-1].start))
        cut = tuple(wider)
        steps = [max(1, int(FINE_MM / spacing)) for spacing in labels.spacing_mm]
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
        """Places of the vertebra's voxels, evenly thinned to `MOST_POINTS` or a little more."""
        index = np.argwhere(self.inside > 0.5)
        return self.geometry.to_lps_mm(index[:: max(1, len(index) // MOST_POINTS)])

    def step_mm(self, direction_lps: np.ndarray) -> float:
        """Return how far a voxel reaches along a direction."""
        parts = np.abs(np.asarray(self.geometry.direction_lps).T @ direction_lps)[::-1]
        return float(parts @ np.asarray(self.geometry.spacing_mm))

    def near(
        self, frame: Frame, reach_mm: tuple[float, float, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the voxels of a box around a frame.

        Args:
            frame: Middle and directions of the box.
            reach_mm: Half its size to the left, to the back and up.

        Returns:
            Places in the frame, (n, 3), and whether each is the vertebra's, (n,).
        """
        corners = np.array(np.meshgrid(*[(-r, r) for r in reach_mm])).reshape(3, -1).T
        index = self.geometry.to_index_zyx(frame.to_lps(corners))
        low = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, self.inside.shape)
        box = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
        grid = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), -1)
        places = frame.to_local(self.geometry.to_lps_mm(grid.reshape(-1, 3)))
        keep = (np.abs(places) <= reach_mm).all(axis=1)
        return places[keep], self.inside[box].reshape(-1)[keep] > 0.5

    def share(self, points_lps_mm: np.ndarray) -> np.ndarray:
        """Return how much each point (..., 3) is the vertebra's, interpolated, in [0, 1]."""
        index = np.moveaxis(self.geometry.to_index_zyx(points_lps_mm), -1, 0)
        return ndimage.map_coordinates(self.inside, index, order=1)

    def exits_mm(
        self, starts_lps_mm: np.ndarray, direction_lps: np.ndarray, reach_mm: float
    ) -> np.ndarray:
        """Return how far from each start (n, 3) the vertebra ends in a direction.

        Returns:
            Distances (n,); NaN where the start is outside, or no end comes within the reach.
        """
        values, steps = self._along(starts_lps_mm, direction_lps, reach_mm)
        return _first_below(values, steps)

    def entries_mm(
        self, starts_lps_mm: np.ndarray, direction_lps: np.ndarray, reach_mm: float
    ) -> np.ndarray:
        """Return how far from each start (n, 3), which is outside, the vertebra begins; or NaN."""
        values, steps = self._along(starts_lps_mm, direction_lps, reach_mm)
        return _first_below(1 - values, steps)

    def _along(
        self, starts: np.ndarray, direction: np.ndarray, reach_mm: float
    ) -> tuple[np.ndarray, np.ndarray]:
        steps = np.arange(0.0, reach_mm + STEP_MM, STEP_MM)
        return self.share(starts[:, None] + steps[None, :, None] * direction), steps

    def shows(self, points_lps_mm: np.ndarray) -> np.ndarray:
        """Return which points (..., 3) lie among the voxels of the image."""
        index = self.geometry.to_index_zyx(points_lps_mm)
        return ((index >= self.shown[0]) & (index <= self.shown[1])).all(axis=-1)


def _first_below(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return where rows of values, which start high, first fall below a half; or NaN."""
    low = values < 0.5
    first = np.argmax(low, axis=1)
    known = low.any(axis=1) & (first > 0)
    k = np.maximum(first, 1)
    rows = np.arange(len(values))
    before, after = values[rows, k - 1], values[rows, k]
    share = (before - 0.5) / np.maximum(before - after, 1e-9)
    return np.where(known, steps[k - 1] + share * (steps[1] - steps[0]), np.nan)
