"""Where the acquired data end, and what they cut. The one definition of "cut by the image".

The data need not fill the array: scans are padded, acquired in a circle, or turned when they are
resampled, and what lies beyond holds one value. Data end in one of four ways:

- at the edge of the array;
- at layers of one value along a side of the array (`data_box`): every voxel there is equal, and the
  data begin at once behind them;
- at any other region of one value that lies beyond the convex hull of all other voxels, because a
  scanner's field of view is convex: the corners around a circle, the wedges around a turned box;
- at layers of one value in the middle, with data on both sides: slices are missing.

Air that was clipped to one value, or all that a threshold removed, is flat as well. Air cuts
nothing, because no bone touches it beyond the hull; and a hull that is mostly empty, as where bone
alone is left, does not count, nor one of a drawing with few values.

A vertebra is cut at a side where at least `CUT_MM2` of it, seen along that axis, come within
`GAP_MM` of the end of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spinemamba.imaging.convex_hull import Hull, darkened, hull_of, is_drawing
from spinemamba.imaging.volume import Geometry, Volume

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

GAP_MM = 1.0
"""Bone this near to the end of the data reaches it. Networks look at voxels of 1.5 mm, and nothing
is labelled beyond the centre of the last one."""

TINY = 1e-6
"""Places are exact to so much of a voxel."""

Box = tuple[slice, slice, slice]
Place = Callable[[np.ndarray], np.ndarray]
"""Takes voxel numbers (x, y, z), shape (points, 3), to LPS millimetres."""

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
        self, voxels: np.ndarray, grid: Geometry, direction: Direction, gap_mm: float = GAP_MM
    ) -> np.ndarray:
        """Return whether the data end right behind voxels, bool (n,).

        Where a hull ends the data, one voxel may lie between, because interpolation mixes it.

        Args:
            voxels: Indices (n, 3) on ``grid``.
            grid: Grid of the voxels; its axes are parallel to those of the image.
            direction: Where to look.
            gap_mm: Largest distance from the voxel's face to the end of the data.
        """
        axis, step = direction
        places = self.geometry.to_index_zyx(grid.to_lps_mm(voxels))
        image_mm, part, gaps = self.geometry.spacing_mm[axis], self.box[axis], self.gaps[axis]
        half = grid.spacing_mm[axis] / image_mm / 2
        face = places[:, axis] + step * half
        from_edge = face - (part.start - 0.5) if step < 0 else part.stop - 0.5 - face
        reach = gap_mm / image_mm + TINY
        found = from_edge <= reach
        beside = np.rint(places).astype(int)
        outer = face + step * (0.5 + TINY)
        beside[:, axis] = np.ceil(outer) if step < 0 else np.floor(outer)
        for near in range(max(2, 1 + int(reach))):
            if near <= reach and gaps.any():
                found |= gaps[np.clip(beside[:, axis], 0, len(gaps) - 1)]
            if self.hull is not None:
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
            if _line_count(ended, axis) * face_mm2 >= CUT_MM2:
                sides.append(name)
    return tuple(sides)


def reaches_end(voxels: np.ndarray, grid: Geometry, view: FieldOfView) -> bool:
    """Return whether an object comes within a voxel of the upper or lower end of the data.

    The voxel is one of the image or of the grid, whichever is larger.

    Args:
        voxels: Indices (n, 3) on ``grid``, canonical orientation.
        grid: Grid of the object.
        view: Where the image holds data.
    """
    own_mm, image_mm = grid.spacing_mm[0], view.geometry.spacing_mm[0]
    gap_mm = max(own_mm, image_mm) + (image_mm - own_mm) / 2
    return any(
        bool(view.ends(_outermost(voxels, 0, step), grid, (0, step), gap_mm).any())
        for step in (-1, 1)
    )


def cut_sides_of_array(
    voxels: np.ndarray, first_xyz: Sequence[int], image_xyz: Extent, place: Place
) -> tuple[str, ...]:
    """Return the sides at which the edge of an array cuts an object, wherever the array lies.

    Args:
        voxels: Not 0 inside, shape (z, y, x); a part of the array.
        first_xyz: Place of its first voxel in the array.
        image_xyz: First and last voxel of the array.
        place: Where voxels lie, in LPS.

    Returns:
        Names out of `SIDES`, in that order, each for the direction nearest to the axis.
    """
    middle = np.asarray(first_xyz) + np.array(voxels.shape[::-1]) / 2
    steps_mm = np.array([np.subtract(*place(middle + np.array([e, -e]) / 2)) for e in np.eye(3)])
    found = set()
    for axis, (start, end) in enumerate(image_xyz):
        face_mm2 = np.linalg.norm(np.cross(*np.delete(steps_mm, axis, axis=0)))
        main = int(np.abs(steps_mm[axis]).argmax())
        # Left, posterior and superior are positive in LPS, as forwards is in canonical axes.
        names = SIDES[2 - main][:: 1 if steps_mm[axis][main] > 0 else -1]
        layers = np.moveaxis(voxels, 2 - axis, 0)
        reach = 1 + int(GAP_MM / np.linalg.norm(steps_mm[axis]) + TINY)
        low, high = (max(0, edge - first_xyz[axis]) for edge in (start + reach, end + 1 - reach))
        for name, part in zip(names, (layers[:low], layers[high:]), strict=True):
            if np.count_nonzero(part.any(axis=0)) * face_mm2 >= CUT_MM2:
                found.add(name)
    return tuple(name for names in SIDES for name in names if name in found)


def data_box(array: np.ndarray) -> Box:
    """Return the part of an array without padding: without layers of one value along its sides.

    Layers count as padding if the data begin at once behind them. Layers of clipped air do not: at
    their end, a patient or a circle begins with a narrow strip. If the first layer of the data was
    mixed with the padding by interpolation, it is left out as well. A drawing has no padding.

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
                if count and is_drawing(array):
                    return tuple(slice(0, n) for n in array.shape)
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
    box = data_box(image.array)
    image = part_of(image, box)
    view = FieldOfView.of_image(image)
    return image.with_array(darkened(image.array)), view, box


def part_of(volume: Volume, box: Box) -> Volume:
    """Return a box of voxels of a volume, which stay where they are."""
    array = volume.array[box]
    if array.shape == volume.array.shape:
        return volume
    origin = volume.geometry.to_lps_mm([part.start for part in box])
    place = {"shape": array.shape, "origin_lps_mm": tuple(map(float, origin))}
    geometry = replace(volume.geometry, **place)
    return replace(volume, array=np.ascontiguousarray(array), geometry=geometry)


def in_whole(labels: np.ndarray, image: Volume, box: Box) -> np.ndarray:
    """Return labels of a box of an image in the shape of the whole, 0 elsewhere."""
    if labels.shape == image.array.shape:
        return labels
    whole = np.zeros(image.array.shape, labels.dtype)
    whole[box] = labels
    return whole


def data_part(image: Volume) -> Volume:
    """Return an image in any orientation without padding, for judging its values."""
    part = part_of(image, data_box(image.array))
    return part.with_array(darkened(part.array))


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
    data = second != value
    first, second = first[data], second[data]
    if not data.any():
        return False
    low, high = np.percentile(second, (5, 95))
    if max(low - value, value - high) <= CLEAR_OF_DATA * (high - low):
        return False
    near, far = (np.abs(layer.astype(np.float64) - value) for layer in (first, second))
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


def _outermost(voxels: np.ndarray, axis: int, step: int) -> np.ndarray:
    """Return the last voxel of each line along an axis."""
    if not len(voxels):
        return voxels
    low = voxels.min(axis=0)
    inside = np.zeros(voxels.max(axis=0) - low + 1, bool)
    inside[tuple((voxels - low).T)] = True
    layers = np.moveaxis(inside, axis, 0)[::-step]
    line = np.argwhere(layers.any(axis=0))
    depth = layers.argmax(axis=0)[tuple(line.T)]
    along = depth if step < 0 else len(layers) - 1 - depth
    return np.insert(line, axis, along, axis=1) + low


def _line_count(voxels: np.ndarray, axis: int) -> int:
    """Return how many lines along an axis voxels lie on."""
    a, b = (voxels[:, k].astype(np.int64) for k in range(3) if k != axis)
    return len(np.unique(a * (1 << 31) + b))
