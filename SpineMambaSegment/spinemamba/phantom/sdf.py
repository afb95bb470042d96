"""Signed distances on a voxel grid, each evaluated only in a box.

Distances are in mm and negative inside. Local coordinates (X left, Y posterior, Z superior) are
in mm from a frame's origin. All arrays are float32 (z, y, x).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spinemamba.imaging.volume import Box, Geometry

Point = tuple[float, float, float]
Distance = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
FAR_MM = 30.0


@dataclass(frozen=True)
class Frame:
    """Local coordinate frame of a part.

    Attributes:
        origin: Left, posterior, superior in mm.
        axes: Rows are the local left, posterior and superior directions in LPS.
    """

    origin: np.ndarray
    axes: np.ndarray

    def to_world(self, local: np.ndarray | Point) -> np.ndarray:
        """Return the LPS position of local points, shape (..., 3)."""
        return self.origin + np.asarray(local, float) @ self.axes

    def moved(self, local: Point) -> Frame:
        """Return a frame with the same axes and its origin at a local point."""
        return Frame(self.to_world(local), self.axes)


WORLD = Frame(np.zeros(3), np.eye(3))


class Grid:
    """A voxel grid whose axes are z, y, x in LPS directions."""

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        origin_zyx = geometry.origin_lps_mm[::-1]
        self.axes_mm = [
            (o + s * np.arange(n)).astype(np.float32)
            for o, s, n in zip(origin_zyx, geometry.spacing_mm, geometry.shape, strict=True)
        ]

    def box(self, frame: Frame, low: Point, high: Point) -> Box | None:
        """Return the voxels around a local box, or None if it lies outside the grid."""
        corners = frame.to_world(list(itertools.product(*zip(low, high, strict=True))))
        slices = []
        for axis, mm in enumerate(self.axes_mm):
            values = corners[:, 2 - axis]
            start = int(np.searchsorted(mm, values.min()))
            stop = int(np.searchsorted(mm, values.max(), side="right"))
            if start >= stop:
                return None
            slices.append(slice(start, stop))
        return slices[0], slices[1], slices[2]

    def local(self, frame: Frame, box: Box) -> list[np.ndarray]:
        """Return the local coordinates X, Y, Z of the voxels of a box."""
        z, y, x = (mm[s] for mm, s in zip(self.axes_mm, box, strict=True))
        dz, dy, dx = ((v - frame.origin[2 - k]).astype(np.float32) for k, v in enumerate((z, y, x)))
        return [
            (dz * np.float32(row[2]))[:, None, None]
            + (dy * np.float32(row[1]))[None, :, None]
            + (dx * np.float32(row[0]))[None, None, :]
            for row in frame.axes
        ]


class Field:
    """The union of parts in one frame.

    Args:
        grid: Where it is evaluated.
        frame: Place of the parts.
        box: Voxels that it may touch.
        warp: Changes local coordinates before they are used, to bend the whole.
    """

    def __init__(
        self,
        grid: Grid,
        frame: Frame,
        box: Box,
        warp: Callable[[list[np.ndarray]], list[np.ndarray]] | None = None,
    ):
        self._grid = grid
        self._frame = frame
        self.box = box
        coordinates = grid.local(frame, box)
        self.coordinates = warp(coordinates) if warp else coordinates
        self.distance = np.full(self.coordinates[0].shape, FAR_MM, np.float32)

    def add(self, low: Point, high: Point, distance: Distance, blend_mm: float = 2.0) -> None:
        """Unite with a part, with a rounded transition.

        Args:
            low: Lower corner of the part's local box.
            high: Upper corner.
            distance: Its signed distance.
            blend_mm: Radius of the fillet.
        """
        inner = self._inner(low, high, blend_mm + 1.0)
        if inner is not None:
            there = self.distance[inner]
            new = distance(*(c[inner] for c in self.coordinates))
            self.distance[inner] = smooth_min(there, new, blend_mm)

    def cut(self, low: Point, high: Point, distance: Distance, blend_mm: float = 1.0) -> None:
        """Subtract a part."""
        inner = self._inner(low, high, blend_mm + 1.0)
        if inner is not None:
            there = self.distance[inner]
            new = distance(*(c[inner] for c in self.coordinates))
            self.distance[inner] = -smooth_min(-there, new, blend_mm)

    def add_capsule(
        self,
        ends: tuple[Point, Point],
        radii: tuple[float, float],
        stretch: Point = (1.0, 1.0, 1.0),
        blend_mm: float = 2.0,
    ) -> None:
        """Unite with a capsule between two points."""
        low, high = capsule_box(ends, radii, stretch)
        self.add(low, high, capsule(ends, radii, stretch), blend_mm)

    def cut_capsule(
        self, ends: tuple[Point, Point], radii: tuple[float, float], stretch: Point = (1, 1, 1)
    ) -> None:
        """Subtract a capsule."""
        low, high = capsule_box(ends, radii, stretch)
        self.cut(low, high, capsule(ends, radii, stretch))

    def _inner(self, low: Point, high: Point, margin: float) -> Box | None:
        padded = self._grid.box(
            self._frame, tuple(v - margin for v in low), tuple(v + margin for v in high)
        )
        if padded is None:
            return None
        slices = []
        for part, whole in zip(padded, self.box, strict=True):
            start = max(part.start, whole.start) - whole.start
            stop = min(part.stop, whole.stop) - whole.start
            if start >= stop:
                return None
            slices.append(slice(start, stop))
        return slices[0], slices[1], slices[2]


def smooth_min(a: np.ndarray, b: np.ndarray, blend_mm: float) -> np.ndarray:
    """Return the minimum with a quadratic fillet (I. Quilez, "smooth minimum")."""
    if blend_mm <= 0:
        return np.minimum(a, b)
    near = np.maximum(blend_mm - np.abs(a - b), 0) / np.float32(blend_mm)
    return np.minimum(a, b) - near * near * np.float32(blend_mm / 4)


def capsule_box(
    ends: tuple[Point, Point], radii: tuple[float, float], stretch: Point
) -> tuple[Point, Point]:
    """Return the local box of a capsule."""
    extent = max(radii) * np.asarray(stretch)
    points = np.asarray(ends)
    return tuple(points.min(axis=0) - extent), tuple(points.max(axis=0) + extent)


def capsule(
    ends: tuple[Point, Point], radii: tuple[float, float], stretch: Point = (1.0, 1.0, 1.0)
) -> Distance:
    """Return the distance to a capsule that is stretched along the axes."""
    start, stop = (np.asarray(p, float) for p in ends)
    along = stop - start
    unit = along / max(float(along @ along), 1e-9)

    def distance(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        dx, dy, dz = (v - np.float32(o) for v, o in zip((x, y, z), start, strict=True))
        t = dx * np.float32(unit[0]) + dy * np.float32(unit[1]) + dz * np.float32(unit[2])
        np.clip(t, 0, 1, out=t)
        square = np.float32(0)
        for v, a, s in zip((dx, dy, dz), along, stretch, strict=True):
            v -= t * np.float32(a)
            square = square + v * v * np.float32(1 / s**2)
        t *= np.float32(radii[1] - radii[0])
        return np.sqrt(square) - t - np.float32(radii[0])

    return distance


def plate(
    centre: Point, half: Point, axes: np.ndarray | None = None, round_mm: float = 1.5
) -> tuple[Point, Point, Distance]:
    """Return the local box of a rounded block and its distance.

    Args:
        centre: Local centre.
        half: Half its sizes along its own axes.
        axes: Rows are its own directions in local coordinates; None means the local axes.
        round_mm: Radius of its edges, below each half size.
    """
    turn = np.eye(3) if axes is None else np.asarray(axes)
    extent = np.abs(turn).T @ np.asarray(half)

    def distance(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        offset = [v - np.float32(c) for v, c in zip((x, y, z), centre, strict=True)]
        outside, inside = np.float32(0), np.float32(-1e3)
        for row, size in zip(turn, half, strict=True):
            along = sum(v * np.float32(r) for v, r in zip(offset, row, strict=True) if r != 0)
            gap = np.abs(along) - np.float32(size - round_mm)
            inside = np.maximum(inside, gap)
            np.maximum(gap, 0, out=gap)
            outside = outside + gap * gap
        return np.sqrt(outside) + np.minimum(inside, 0) - np.float32(round_mm)

    return tuple(np.asarray(centre) - extent), tuple(np.asarray(centre) + extent), distance
