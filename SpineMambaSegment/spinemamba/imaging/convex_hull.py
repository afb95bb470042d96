"""Constant regions beyond the convex hull of an image's acquired data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.imaging.volume import Box

_AIR_HU = -1024
"""New value of a bright outside in CT, which is recognised by negative values."""

_CHUNK = 4096
"""Number of points that are compared with all planes at once."""


@dataclass(frozen=True)
class HullOptions:
    """Thresholds, each with its reason.

    Attributes:
        flat_share: Least share of a side of the image that a value of the outside fills without a
            gap.
        directions: Most corners of the hull per slice: the error for a circle of 25 cm is 0.3 mm.
        few_values: An image with fewer distinct values is synthetic, not acquired.
        most_empty_share: Largest share of clipped air in the hull of a patient. Bone alone fills
            far less of its hull, and ends everywhere without being truncated.
        bright_share: Share of the range of the data by which tissue is brighter than the darkest
            data.
    """

    flat_share: float = 0.01
    directions: int = 64
    few_values: int = 40
    most_empty_share: float = 0.5
    bright_share: float = 0.1


@dataclass(frozen=True)
class Hull:
    """The convex hull of all voxels that do not have a value of the outside.

    Attributes:
        array: The image, (z, y, x).
        box: Part of the image that the hull describes.
        values: Values of the outside.
        planes: Normals and offsets (planes, 4): a point z, y, x is outside if ``normal @ point +
            offset`` is positive for one plane.
    """

    array: np.ndarray
    box: Box
    values: np.ndarray
    planes: np.ndarray

    def is_outside(self, index_zyx: np.ndarray) -> np.ndarray:
        """Return whether voxels are outside, bool (n,); False outside of the box.

        Args:
            index_zyx: Integer indices (n, 3); may be outside of the image.
        """
        low = np.array([part.start for part in self.box])
        high = np.array([part.stop for part in self.box])
        out = ((index_zyx >= low) & (index_zyx < high)).all(axis=1)
        out[out] = self.has_outside_value(index_zyx[out])
        candidates = np.flatnonzero(out)
        for start in range(0, len(candidates), _CHUNK):
            chunk = candidates[start : start + _CHUNK]
            height = index_zyx[chunk] @ self.planes[:, :3].T + self.planes[:, 3]
            out[chunk] = height.max(axis=1) > 1e-6
        return out

    def has_outside_value(self, index_zyx: np.ndarray) -> np.ndarray:
        """Return whether voxels of the image have a value of the outside, bool (n,)."""
        return np.isin(self.array[tuple(index_zyx.T)], self.values)


def hull_of(array: np.ndarray, box: Box, options: HullOptions = HullOptions()) -> Hull | None:
    """Return the hull of the data in a box of an image.

    Args:
        array: Values, (z, y, x).
        box: Part of the image.
        options: Thresholds.

    Returns:
        The hull, or None if no side of the box has a constant region, the image is synthetic, or
        the hull is mostly empty.
    """
    from scipy.spatial import ConvexHull, QhullError

    values = _flat_values(array[box], options)
    if not len(values) or is_synthetic(array[box], options):
        return None
    corners = _corners(array[box], values, options.directions) + [part.start for part in box]
    try:
        planes = ConvexHull(corners).equations
    except (QhullError, ValueError):  # no data, or all in one plane
        return None
    hull = Hull(array, box, values, planes)
    return None if _empty_share(hull) > options.most_empty_share else hull


def is_synthetic(array: np.ndarray, options: HullOptions = HullOptions()) -> bool:
    """Return whether an image has too few distinct values to recognise the outside."""
    thinned = array[tuple(slice(None, None, 1 + n // 100) for n in array.shape)]
    return len(np.unique(thinned)) < options.few_values


def _flat_values(array: np.ndarray, options: HullOptions) -> np.ndarray:
    """Return the values that fill a part of a side of an array without a gap, sorted."""
    flat_values = set()
    for axis in range(3):
        for end in (0, -1):
            face = np.take(array, end, axis=axis)
            corner = face[:-1, :-1]
            flat = corner == face[1:, :-1]
            flat = flat & (corner == face[:-1, 1:]) & (corner == face[1:, 1:])
            values, counts = np.unique(corner[flat], return_counts=True)
            flat_values |= set(values[counts >= options.flat_share * face.size].tolist())
    return np.array(sorted(flat_values), array.dtype)


def darkened(array: np.ndarray, options: HullOptions = HullOptions()) -> np.ndarray:
    """Replace an outside that looks like tissue, or is negative while the data are not.

    Only values that occur at the corners of the image are replaced, and only before and after the
    data of each row: elsewhere they may be data.

    Args:
        array: Values, (z, y, x).
        options: Thresholds.

    Returns:
        A copy, or the array itself if nothing has to change.
    """
    corners = array[np.ix_(*((0, n - 1) for n in array.shape))]
    values = np.intersect1d(_flat_values(array, options), corners)
    if not len(values) or is_synthetic(array, options):
        return array
    data = _sample(array, values)
    low, dark, bright = np.percentile(data, (0, 5, 95))
    if values[-1] <= low + options.bright_share * (bright - dark) and (values[0] >= 0 or low < 0):
        return array
    fill = min(low, _AIR_HU) if low < 0 else low
    first, last, present = _row_ends(array, values)
    out, x = array.copy(), np.arange(array.shape[2])
    for z, plane in enumerate(out):
        outside = (x < first[z][:, None]) | (x > last[z][:, None]) | ~present[z][:, None]
        plane[outside] = fill
    return out


def _row_ends(array: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where data begin and end in each row.

    Args:
        array: Values, (z, y, x).
        values: Values of the outside.

    Returns:
        First and last index along x, and whether the row has data, each (z, y).
    """
    first, last = (np.zeros(array.shape[:2], np.int32) for _ in range(2))
    present = np.zeros(array.shape[:2], bool)
    for z, plane in enumerate(array):
        data = plane != values[0]
        for value in values[1:]:
            data &= plane != value
        present[z] = data.any(axis=1)
        first[z] = data.argmax(axis=1)
        last[z] = data.shape[1] - 1 - data[:, ::-1].argmax(axis=1)
    return first, last, present


def _sample(array: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a subset of the voxels of an array, without some values."""
    thinned = array.reshape(-1)[:: max(1, array.size // 500_000)]
    return thinned[~np.isin(thinned, values)]


def _empty_share(hull: Hull) -> float:
    """Return the share of the hull that has values of the outside."""
    axes = [np.unique(np.linspace(p.start, p.stop - 1, 24).astype(int)) for p in hull.box]
    index_zyx = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    inside = index_zyx[~hull.is_outside(index_zyx)]
    return float(hull.has_outside_value(inside).mean()) if len(inside) else 1.0


def _corners(array: np.ndarray, values: np.ndarray, directions_count: int) -> np.ndarray:
    """Return the outermost data of each slice in several directions, indices (n, 3)."""
    first, last, present = _row_ends(array, values)
    angles = np.linspace(0, 2 * np.pi, directions_count, endpoint=False)
    directions = np.stack([np.sin(angles), np.cos(angles)])
    corners = [np.zeros((0, 3))]
    for z in np.flatnonzero(present.any(axis=1)):
        y = np.flatnonzero(present[z])
        ends = np.concatenate([np.stack([y, e[z, y]], axis=1) for e in (first, last)])
        outer = ends[np.unique((ends @ directions).argmax(axis=0))]
        corners.append(np.column_stack([np.full(len(outer), z), outer]))
    return np.concatenate(corners)
