"""What lies beyond the convex hull of an image's data, and holds one value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLAT_SHARE = 0.01
"""Share of a side of the image that a value fills without a gap, before it may be outside."""

DIRECTIONS = 64
"""In each slice the hull has so many corners at most: a circle of 25 cm is off by 0.3 mm."""

FEW_VALUES = 40
"""An image with fewer values is drawn, not acquired."""

MOST_EMPTY = 0.5
"""Of the hull of a patient, so much may be air that was clipped. Bone alone fills far less of its
own hull, and ends everywhere without being cut."""

CLEAR = 0.1
"""What is brighter than the darkest data by this share of their range looks like tissue or bone."""

AIR_HU = -1024
"""What is made dark becomes as dark as this, if negative values tell that it is a CT."""

CHUNK = 4096
"""Places that are compared with all planes at once."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Hull:
    """The convex hull of all voxels that do not have the values of the outside.

    Attributes:
        array: The image, (z, y, x).
        box: The part of the image that the hull is about.
        values: Values of the outside.
        planes: Normals and offsets (planes, 4): a place z, y, x is outside if ``normal @ place +
            offset`` is positive for one of them.
    """

    array: np.ndarray
    box: Box
    values: np.ndarray
    planes: np.ndarray

    def beyond(self, index_zyx: np.ndarray) -> np.ndarray:
        """Return whether voxels are outside, bool (n,); False outside of the box.

        Args:
            index_zyx: Indices (n, 3), whole numbers; may lie outside of the image.
        """
        low = np.array([part.start for part in self.box])
        high = np.array([part.stop for part in self.box])
        out = ((index_zyx >= low) & (index_zyx < high)).all(axis=1)
        out[out] = self.empty(index_zyx[out])
        asked = np.flatnonzero(out)
        for start in range(0, len(asked), CHUNK):
            some = asked[start : start + CHUNK]
            height = index_zyx[some] @ self.planes[:, :3].T + self.planes[:, 3]
            out[some] = height.max(axis=1) > 1e-6
        return out

    def empty(self, index_zyx: np.ndarray) -> np.ndarray:
        """Return whether voxels of the image have a value of the outside, bool (n,)."""
        return np.isin(self.array[tuple(index_zyx.T)], self.values)


def hull_of(array: np.ndarray, box: Box) -> Hull | None:
    """Return the hull of the data in a box of an image; None if no side of it is flat anywhere.

    Args:
        array: Values, (z, y, x).
        box: The part to look at.
    """
    from scipy.spatial import ConvexHull, QhullError

    values = flat_values(array[box])
    if not len(values) or is_drawing(array[box]):
        return None
    corners = _corners(array[box], values) + [part.start for part in box]
    try:
        planes = ConvexHull(corners).equations
    except (QhullError, ValueError):  # all data lie in one plane, or there are none
        return None
    hull = Hull(array, box, values, planes)
    return None if _empty_share(hull) > MOST_EMPTY else hull


def is_drawing(array: np.ndarray) -> bool:
    """Return whether an image has so few values that none stands out as the outside."""
    thinned = array[tuple(slice(None, None, 1 + n // 100) for n in array.shape)]
    return len(np.unique(thinned)) < FEW_VALUES


def flat_values(array: np.ndarray) -> np.ndarray:
    """Return the values that fill a part of a side of an array without a gap, sorted."""
    found = set()
    for axis in range(3):
        for end in (0, -1):
            face = np.take(array, end, axis=axis)
            own = face[:-1, :-1]
            flat = (own == face[1:, :-1]) & (own == face[:-1, 1:]) & (own == face[1:, 1:])
            values, counts = np.unique(own[flat], return_counts=True)
            found |= set(values[counts >= FLAT_SHARE * face.size].tolist())
    return np.array(sorted(found), array.dtype)


def darkened(array: np.ndarray) -> np.ndarray:
    """Return an image whose outside looks like no tissue, and is not negative where data are not.

    Only values at the corners of the image are changed, and only in front of and behind the data of
    each row: elsewhere they may be data.

    Args:
        array: Values, (z, y, x).

    Returns:
        The array itself if nothing has to change, else a copy.
    """
    corners = array[np.ix_(*((0, n - 1) for n in array.shape))]
    values = np.intersect1d(flat_values(array), corners)
    if not len(values) or is_drawing(array):
        return array
    data = _sample(array, values)
    low, dark, bright = np.percentile(data, (0, 5, 95))
    if values[-1] <= low + CLEAR * (bright - dark) and (values[0] >= 0 or low < 0):
        return array
    fill = min(low, AIR_HU) if low < 0 else low
    first, last, present = row_ends(array, values)
    out, x = array.copy(), np.arange(array.shape[2])
    for z, plane in enumerate(out):
        outside = (x < first[z][:, None]) | (x > last[z][:, None]) | ~present[z][:, None]
        plane[outside] = fill
    return out


def row_ends(array: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where data begin and end in each row.

    Args:
        array: Values, (z, y, x).
        values: Values that are no data.

    Returns:
        First and last place along x, and whether there are any data, each (z, y).
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
    """Return some of the data of an array, that is, without some values."""
    thinned = array.reshape(-1)[:: max(1, array.size // 500_000)]
    return thinned[~np.isin(thinned, values)]


def _empty_share(hull: Hull) -> float:
    """Return the share of the hull that has values of the outside."""
    axes = [np.unique(np.linspace(p.start, p.stop - 1, 24).astype(int)) for p in hull.box]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    inside = places[~hull.beyond(places)]
    return float(hull.empty(inside).mean()) if len(inside) else 1.0


def _corners(array: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the outermost data of each slice in some directions, indices (n, 3)."""
    first, last, present = row_ends(array, values)
    angles = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)
    directions = np.stack([np.sin(angles), np.cos(angles)])
    found = [np.zeros((0, 3))]
    for z in np.flatnonzero(present.any(axis=1)):
        y = np.flatnonzero(present[z])
        ends = np.concatenate([np.stack([y, e[z, y]], axis=1) for e in (first, last)])
        outer = ends[np.unique((ends @ directions).argmax(axis=0))]
        found.append(np.column_stack([np.full(len(outer), z), outer]))
    return np.concatenate(found)
