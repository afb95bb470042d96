"""Where the acquired data end, and what they cut. The one definition of "cut by the image".

The data need not fill the array: scans are padded, acquired in a circle, or turned when they are
resampled, and what lies beyond holds one value. Data end in one of four ways:

- at the edge of the array;
- at layers of one value along a side of the array (`data_box`): every voxel there is equal, and the
  data begin at once behind them;
- at any other region of one value that lies beyond the convex hull of all other voxels, because a
  scanner's field of view is convex: the corners around a circle, the wedges around a turned box;
- at layers of one value in the middle, with data on both sides: slices are missing.

Air that was clipped to one value, or all that a threshold removed, is flat as well. It does not
count where bone is not its direct neighbour, or where it lies within the hull of everything else.

A vertebra is cut where at least `CUT_MM2` of it, seen along an axis, end where the data end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from spinemamba.hull import Hull, darkened, hull_of
from spinemamba.volume import Geometry, Volume

CUT_MM2 = 40.0
"""Less bone than this where the data end is a stray voxel or the tip of a process."""

SIDES = (("inferior", "superior"), ("anterior", "posterior"), ("right", "left"))
"""Names of the two directions along z, y and x in canonical orientation, backwards and forwards."""

ABRUPT_SHARE = 0.25
"""Behind padding, at least this share of the first layer has another value. Behind air that was
clipped, a patient or the circle of a scanner begins with a narrow strip."""

BLENDED = 0.9
"""The first layer was mixed with the padding by interpolation where it differs from the padding by
less than this share of what the second one does."""

CLEAR_OF_DATA = 0.5
"""That can be seen only where the padding lies outside of what the data usually are, by this share
of their range."""

TINY = 1e-6
"""Places are exact to so much of a voxel."""

Box = tuple[slice, slice, slice]
Direction = tuple[int, int]
"""Axis (0, 1, 2 for z, y, x) and -1 backwards or 1 forwards."""

Extent = Sequence[tuple[int, int]]
"""First and last voxel along x, y and z."""


@dataclass(frozen=True)
class FieldOfView:
    """Where an array holds acquired data.

    Attributes:
        geometry: Grid of the array, canonical orientation.
        box: The part of the array that is not padded.
        gaps: For each axis whether a layer of the array lies in a gap between data, bool.
        hull: What is outside within the box; None if nothing is.
    """

    geometry: Geometry
    box: Box
    gaps: tuple[np.ndarray, np.ndarray, np.ndarray]
    hull: Hull | None = None

    @classmethod
    def of_grid(cls, geometry: Geometry) -> FieldOfView:
        """Return the field of view of an array that is full of data, or whose data are unknown."""
        box = tuple(slice(0, n) for n in geometry.shape)
        return cls(geometry, box, tuple(np.zeros(n, bool) for n in geometry.shape))

    @classmethod
    def of_image(cls, image: Volume) -> FieldOfView:
        """Return the field of view of a CT or MR volume in canonical orientation."""
        box = data_box(image.array)
        gaps = tuple(_gaps(image.array, box, axis) for axis in range(3))
        return cls(image.geometry, box, gaps, hull_of(image.array, box))

    def outside(self, index_zyx: np.ndarray) -> np.ndarray:
        """Return which voxels of the array hold no data, bool (n,).

        Args:
            index_zyx: Indices (n, 3) in the array.
        """
        low, high = ([getattr(part, end) for part in self.box] for end in ("start", "stop"))
        found = ((index_zyx < low) | (index_zyx >= high)).any(axis=1)
        for axis, gaps in enumerate(self.gaps):
            found |= gaps[index_zyx[:, axis]]
        return found if self.hull is None else found | self.hull.beyond(index_zyx)

    def ends(
        self, voxels: np.ndarray, grid: Geometry, direction: Direction, slack_vox: float = -TINY
    ) -> np.ndarray:
        """Return whether the data end right behind voxels, bool (n,).

        Right behind is within one voxel of the image or of the grid, whichever is larger. Where a
        hull ends the data, one voxel more may lie between, because interpolation mixes it.

        Args:
            voxels: Indices (n, 3) on ``grid``.
            grid: Grid of the voxels; its axes are parallel to those of the image.
            direction: Where to look.
            slack_vox: Added to "one voxel"; the sign says whether exactly one voxel still counts.
        """
        axis, step = direction
        places = self.geometry.to_index_zyx(grid.to_lps_mm(voxels))
        reach = max(1.0, grid.spacing_mm[axis] / self.geometry.spacing_mm[axis])
        here, beside = places[:, axis].copy(), np.rint(places).astype(int)
        part, gaps = self.box[axis], self.gaps[axis]
        from_edge = here - part.start if step < 0 else part.stop - 1 - here
        found = from_edge < reach + slack_vox
        for far in (*range(1, math.ceil(reach)), reach):
            away = here + step * (far + slack_vox)
            beside[:, axis] = np.floor(away) if step < 0 else np.ceil(away)
            if gaps.any():
                found |= gaps[np.clip(beside[:, axis], 0, len(gaps) - 1)]
        if self.hull is not None:
            for _ in range(2):
                found |= self.hull.beyond(beside)
                beside[:, axis] += step
        return found


def cut_sides(voxels: np.ndarray, grid: Geometry, view: FieldOfView) -> tuple[str, ...]:
    """Return the sides at which the end of the data cuts an object.

    Args:
        voxels: Indices (n, 3) on ``grid``, canonical orientation.
        grid: Grid of the object.
        view: Where the image holds data.

    Returns:
        Names out of `SIDES`, in that order.
    """
    sides = []
    for axis, names in enumerate(SIDES):
        others = [k for k in range(3) if k != axis]
        face_mm2 = grid.spacing_mm[others[0]] * grid.spacing_mm[others[1]]
        for step, name in zip((-1, 1), names, strict=True):
            last = voxels if view.gaps[axis].any() else _outermost(voxels, axis, step)
            ended = last[view.ends(last, grid, (axis, step))]
            if len(np.unique(_columns(ended, axis))) * face_mm2 >= CUT_MM2:
                sides.append(name)
    return tuple(sides)


def reaches_end(voxels: np.ndarray, grid: Geometry, view: FieldOfView) -> bool:
    """Return whether any voxel of an object lies at the upper or lower end of the data.

    Args:
        voxels: Indices (n, 3) on ``grid``, canonical orientation.
        grid: Grid of the object.
        view: Where the image holds data.
    """
    return any(
        bool(view.ends(_outermost(voxels, 0, step), grid, (0, step), TINY).any())
        for step in (-1, 1)
    )


def cut_sides_of_array(
    ends_xyz: Extent,
    counts_xyz: Extent,
    image_xyz: Extent,
    place: Callable[[np.ndarray], np.ndarray],
) -> tuple[str, ...]:
    """Return the sides at which the edge of an array cuts an object, wherever the array lies.

    Args:
        ends_xyz: First and last voxel of the object along x, y and z.
        counts_xyz: How many voxels it has in these layers.
        image_xyz: First and last voxel of the array.
        place: Takes voxel numbers (n, 3) along x, y, z to LPS millimetres.

    Returns:
        Names out of `SIDES`, in that order, each for the direction nearest to the axis.
    """
    middle = np.mean(np.asarray(ends_xyz, float), axis=1)
    steps_mm = np.array([np.subtract(*place(middle + [e / 2, -e / 2])) for e in np.eye(3)])
    found = set()
    for axis, (ends, counts, edges) in enumerate(zip(ends_xyz, counts_xyz, image_xyz, strict=True)):
        face_mm2 = np.linalg.norm(np.cross(*np.delete(steps_mm, axis, axis=0)))
        main = int(np.abs(steps_mm[axis]).argmax())
        names = SIDES[2 - main]
        # Left, posterior and superior are positive in LPS, as forwards is in canonical axes.
        names = names if steps_mm[axis][main] > 0 else names[::-1]
        reached = (ends[0] <= edges[0], ends[1] >= edges[1])
        for name, at_edge, count in zip(names, reached, counts, strict=True):
            if at_edge and count * face_mm2 >= CUT_MM2:
                found.add(name)
    return tuple(name for names in SIDES for name in names if name in found)


def data_box(array: np.ndarray) -> Box:
    """Return the part of an array without padding: without layers of one value along its sides.

    Layers count as padding if the data begin at once behind them. Layers of clipped air do not: at
    their end, a patient or a circle begins with a narrow strip. If the first layer of the data was
    mixed with the padding by interpolation, it is left out as well.

    Args:
        array: Values, (z, y, x), any orientation.
    """
    box = [slice(0, n) for n in array.shape]
    changed = True
    while changed:
        changed = False
        for axis in range(3):
            for step in (1, -1):
                count = _padding(array[tuple(box)], axis, step)
                part = box[axis]
                if step > 0:
                    box[axis] = slice(part.start + count, part.stop)
                else:
                    box[axis] = slice(part.start, part.stop - count)
                changed |= count > 0
    return box[0], box[1], box[2]


def acquired(image: Volume) -> tuple[Volume, FieldOfView, Box]:
    """Return the part of an image that holds data, as the networks shall see it.

    Padding is left out. What is outside for another reason is made as dark as the darkest of the
    data, unless it is dark already.

    Args:
        image: CT or MR in canonical orientation.

    Returns:
        The part, its field of view, and where it lies in the image.
    """
    from spinemamba.resample import crop_geometry  # needs torch, which evaluation shall not load

    box = data_box(image.array)
    whole = all(part.stop - part.start == n for part, n in zip(box, image.array.shape, strict=True))
    if not whole:
        image = Volume(
            np.ascontiguousarray(image.array[box]), crop_geometry(image.geometry, box)
        )
    view = FieldOfView.of_image(image)
    return image.with_array(darkened(image.array)), view, box


def data_values(image: Volume) -> np.ndarray:
    """Return the values of an image in any orientation without padding, for guessing what it is."""
    return darkened(image.array[data_box(image.array)])


def _padding(array: np.ndarray, axis: int, step: int) -> int:
    """Return how many layers from one side are padding."""
    layers = np.moveaxis(array, axis, 0)[::step]
    count, value = 0, layers[0].flat[0]
    while count < len(layers) and _is_flat(layers[count], value):
        count += 1
    if not count or count > len(layers) - 2:
        return 0
    first, second = layers[count], layers[count + 1]
    if np.mean(first != value) < ABRUPT_SHARE:
        return 0
    return count + int(_is_blended(first, second, float(value)))


def _is_flat(layer: np.ndarray, value: float) -> bool:
    return bool((layer[::16, ::16] == value).all() and (layer == value).all())


def _is_blended(first: np.ndarray, second: np.ndarray, value: float) -> bool:
    """Return whether a layer lies between the padding and the next layer everywhere."""
    low, high = np.percentile(second, (5, 95))
    if max(low - value, value - high) <= CLEAR_OF_DATA * (high - low):
        return False
    near, far = (np.abs(layer.astype(np.float64).ravel() - value) for layer in (first, second))
    clear = near + far >= np.median(near + far)
    share = np.median(near[clear] / np.maximum(far[clear], 1e-9))
    return bool(share < BLENDED)


def _gaps(array: np.ndarray, box: Box, axis: int) -> np.ndarray:
    """Return which layers of an array lie in a gap between data, bool (n,)."""
    layers = np.moveaxis(array[box], axis, 0)
    thin = layers[:, ::16, ::16]
    flat = (thin == thin[:, :1, :1]).all(axis=(1, 2))
    for k in np.flatnonzero(flat):
        flat[k] = _is_flat(layers[k], layers[k].flat[0])
    out = np.zeros(array.shape[axis], bool)
    bounds = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(np.int8), [0]])))
    for start, stop in bounds.reshape(-1, 2):
        if start == 0 or stop == len(layers):
            continue
        beside = ((layers[start - 1], layers[start]), (layers[stop], layers[stop - 1]))
        if all(np.mean(data != gap.flat[0]) >= ABRUPT_SHARE for data, gap in beside):
            out[box[axis].start + start : box[axis].start + stop] = True
    return out


def _columns(voxels: np.ndarray, axis: int) -> np.ndarray:
    """Return one number for each line along an axis that voxels lie on."""
    a, b = (voxels[:, k].astype(np.int64) for k in range(3) if k != axis)
    return a * (1 << 31) + b


def _outermost(voxels: np.ndarray, axis: int, step: int) -> np.ndarray:
    """Return the last voxel of each line along an axis."""
    order = np.lexsort((step * voxels[:, axis], _columns(voxels, axis)))
    columns = _columns(voxels, axis)[order]
    last = np.append(columns[1:] != columns[:-1], True) if len(columns) else np.zeros(0, bool)
    return voxels[order[last]]
