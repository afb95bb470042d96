"""Field of view, and truncation of objects by it. This module defines "truncated" for the package.

The acquired data need not fill the array: scans are padded, acquired in a circle, or rotated by
resampling, and the region outside has a constant value. The field of view ends

- at the edge of the array;
- at constant layers along a side of the array (`data_box`) that are followed by data without a
  transition;
- at any other constant region beyond the convex hull of all other voxels, because a scanner's field
  of view is convex: the corners around a circle, the wedges around a rotated box;
- at constant layers between data: missing slices.

Air that was clipped, and everything removed by a threshold, is constant too. Air truncates nothing,
because no bone touches it beyond the hull. A hull that is mostly empty, as in a bone-only image, is
ignored, and so is that of a synthetic image with few values.

A vertebra is truncated at a side where at least ``least_cut_mm2`` of its projection along that axis
come within ``gap_mm`` of the end of the field of view (`TruncationOptions`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spinemamba.imaging.convex_hull import Hull, darkened, hull_of, is_synthetic
from spinemamba.imaging.volume import Box, Geometry, Volume

SIDES = (("inferior", "superior"), ("anterior", "posterior"), ("right", "left"))
"""Names of the negative and positive direction along z, y and x in canonical orientation."""

_TINY = 1e-6
"""Numerical tolerance of positions, in voxels."""
Place = Callable[[np.ndarray], np.ndarray]
"""Maps voxel indices (x, y, z), shape (points, 3), to LPS millimetres."""

Direction = tuple[int, int]
"""Axis (0, 1, 2 for z, y, x) and sign (-1 or 1)."""

Extent = Sequence[tuple[int, int]]
"""First and last voxel along x, y and z."""


@dataclass(frozen=True)
class TruncationOptions:
    """Thresholds, each with its reason.

    Attributes:
        least_cut_mm2: Least area of bone at the end of the data. Less is a stray voxel or the tip
            of a process.
        gap_mm: Bone within this distance reaches the end of the data. The networks use voxels of
            1.5 mm, and nothing is labelled beyond the centre of the last one.
        abrupt_share: Least share of other values in the first layer after padding. After clipped
            air, a patient or a circular field of view begins with a narrow strip.
        blended_share: Interpolation blended the first layer with the padding if its difference
            from the padding is less than this share of the second layer's difference.
        padding_distance: Least distance of the padding from the range of the data, relative to
            that range, at which blending can be detected.
    """

    least_cut_mm2: float = 40.0
    gap_mm: float = 1.0
    abrupt_share: float = 0.25
    blended_share: float = 0.9
    padding_distance: float = 0.5


@dataclass(frozen=True)
class FieldOfView:
    """Region of an array that holds acquired data.

    Attributes:
        geometry: Grid of the array, canonical orientation.
        box: Part of the array without padding.
        gaps: For each axis, whether each layer of the array lies in a gap between data, bool.
        hull: Convex hull of the data in the box; None if the data fill the box.
    """

    geometry: Geometry
    box: Box
    gaps: tuple[np.ndarray, np.ndarray, np.ndarray]
    hull: Hull | None = None

    @classmethod
    def of_grid(cls, geometry: Geometry) -> FieldOfView:
        """Return the field of view of an array that is filled with data, or assumed to be."""
        box = tuple(slice(0, n) for n in geometry.shape)
        return cls(geometry, box, tuple(np.zeros(n, bool) for n in geometry.shape))

    @classmethod
    def of_image(
        cls, image: Volume, options: TruncationOptions = TruncationOptions()
    ) -> FieldOfView:
        """Return the field of view of a CT or MR volume in canonical orientation."""
        box = data_box(image.array, options)
        gaps = tuple(_gaps(image.array, box, axis, options) for axis in range(3))
        return cls(image.geometry, box, gaps, hull_of(image.array, box))

    def scaled(self, factor: float) -> FieldOfView:
        """Return the field of view of an object ``factor`` times as large."""
        return replace(self, geometry=self.geometry.scaled(factor))

    def outside(self, index_zyx: np.ndarray) -> np.ndarray:
        """Return whether voxels of the array are outside of the field of view, bool (n,).

        Args:
            index_zyx: Indices (n, 3) in the array.
        """
        low, high = ([getattr(part, end) for part in self.box] for end in ("start", "stop"))
        out = ((index_zyx < low) | (index_zyx >= high)).any(axis=1)
        for axis, gaps in enumerate(self.gaps):
            out |= gaps[index_zyx[:, axis]]
        return out if self.hull is None else out | self.hull.is_outside(index_zyx)

    def ends(
        self,
        voxels: np.ndarray,
        grid: Geometry,
        direction: Direction,
        gap_mm: float = TruncationOptions.gap_mm,
    ) -> np.ndarray:
        """Return whether the field of view ends next to voxels, bool (n,).

        At a hull, one voxel may lie between, because interpolation blends it with the outside.

        Args:
            voxels: Indices (n, 3) on ``grid``.
            grid: Grid of the voxels, with axes parallel to those of the image.
            direction: Direction from the voxels.
            gap_mm: Largest distance from the face of a voxel to the end of the data.
        """
        axis, step = direction
        places = self.geometry.to_index_zyx(grid.to_lps_mm(voxels))
        image_mm, part, gaps = self.geometry.spacing_mm[axis], self.box[axis], self.gaps[axis]
        half = grid.spacing_mm[axis] / image_mm / 2
        face = places[:, axis] + step * half
        from_edge = face - (part.start - 0.5) if step < 0 else part.stop - 0.5 - face
        reach = gap_mm / image_mm + _TINY
        ended = from_edge <= reach
        neighbour = np.rint(places).astype(int)
        outer = face + step * (0.5 + _TINY)
        neighbour[:, axis] = np.ceil(outer) if step < 0 else np.floor(outer)
        for distance in range(max(2, 1 + int(reach))):
            if distance <= reach and gaps.any():
                ended |= gaps[np.clip(neighbour[:, axis], 0, len(gaps) - 1)]
            if self.hull is not None:
                ended |= self.hull.is_outside(neighbour)
            neighbour[:, axis] += step
        return ended


def cut_sides(
    voxels: np.ndarray,
    grid: Geometry,
    view: FieldOfView,
    options: TruncationOptions = TruncationOptions(),
) -> tuple[str, ...]:
    """Return the sides at which the field of view truncates an object.

    Args:
        voxels: Indices (n, 3) on ``grid``, canonical orientation.
        grid: Grid of the object.
        view: Field of view of the image.
        options: Thresholds.

    Returns:
        Names out of `SIDES`, in that order.
    """
    sides = []
    for axis, names in enumerate(SIDES):
        others = [k for k in range(3) if k != axis]
        face_mm2 = grid.spacing_mm[others[0]] * grid.spacing_mm[others[1]]
        for step, name in zip((-1, 1), names, strict=True):
            last = voxels if view.gaps[axis].any() else _outermost(voxels, axis, step)
            ended = last[view.ends(last, grid, (axis, step), options.gap_mm)]
            if _line_count(ended, axis) * face_mm2 >= options.least_cut_mm2:
                sides.append(name)
    return tuple(sides)


def reaches_end(voxels: np.ndarray, grid: Geometry, view: FieldOfView) -> bool:
    """Return whether an object comes within a voxel of the upper or lower end of the data.

    The voxel is one of the image or of the object's grid, whichever is larger.

    Args:
        voxels: Indices (n, 3) on ``grid``, canonical orientation.
        grid: Grid of the object.
        view: Field of view of the image.
    """
    grid_mm, image_mm = grid.spacing_mm[0], view.geometry.spacing_mm[0]
    gap_mm = max(grid_mm, image_mm) + (image_mm - grid_mm) / 2
    return any(
        bool(view.ends(_outermost(voxels, 0, step), grid, (0, step), gap_mm).any())
        for step in (-1, 1)
    )


def cut_sides_of_array(
    voxels: np.ndarray,
    first_xyz: Sequence[int],
    image_xyz: Extent,
    place: Place,
    options: TruncationOptions = TruncationOptions(),
) -> tuple[str, ...]:
    """Return the sides at which the edge of an array of any orientation truncates an object.

    Args:
        voxels: Mask of the object, shape (z, y, x); a part of the array.
        first_xyz: Index of its first voxel in the array.
        image_xyz: First and last voxel of the array.
        place: Maps voxel indices to LPS.
        options: Thresholds.

    Returns:
        Names out of `SIDES`, in that order, each for the direction nearest to the axis.
    """
    middle = np.asarray(first_xyz) + np.array(voxels.shape[::-1]) / 2
    steps_mm = np.array([np.subtract(*place(middle + np.array([e, -e]) / 2)) for e in np.eye(3)])
    cut = set()
    for axis, (start, end) in enumerate(image_xyz):
        face_mm2 = np.linalg.norm(np.cross(*np.delete(steps_mm, axis, axis=0)))
        main = int(np.abs(steps_mm[axis]).argmax())
        # Left, posterior and superior are positive in LPS and in canonical axes.
        names = SIDES[2 - main][:: 1 if steps_mm[axis][main] > 0 else -1]
        layers = np.moveaxis(voxels, 2 - axis, 0)
        reach = 1 + int(options.gap_mm / np.linalg.norm(steps_mm[axis]) + _TINY)
        low, high = (max(0, edge - first_xyz[axis]) for edge in (start + reach, end + 1 - reach))
        for name, part in zip(names, (layers[:low], layers[high:]), strict=True):
            if np.count_nonzero(part.any(axis=0)) * face_mm2 >= options.least_cut_mm2:
                cut.add(name)
    return tuple(name for names in SIDES for name in names if name in cut)


def data_box(array: np.ndarray, options: TruncationOptions = TruncationOptions()) -> Box:
    """Return the part of an array without padding, that is, without constant layers at its sides.

    Constant layers are padding only if data follow without a transition. Clipped air is not: after
    it, a patient or a circle begins with a narrow strip. If interpolation blended the first layer
    of the data with the padding, it is removed as well. Synthetic images have no padding.

    Args:
        array: Values, (z, y, x), any orientation.
        options: Thresholds.
    """
    box = [slice(0, n) for n in array.shape]
    changed = True
    while changed:
        changed = False
        for axis in range(3):
            for step in (1, -1):
                count = _padding(array[tuple(box)], axis, step, options)
                if count and is_synthetic(array):
                    return tuple(slice(0, n) for n in array.shape)
                part = box[axis]
                if step > 0:
                    box[axis] = slice(part.start + count, part.stop)
                else:
                    box[axis] = slice(part.start, part.stop - count)
                changed |= count > 0
    return box[0], box[1], box[2]


def crop_to_data(image: Volume) -> tuple[Volume, FieldOfView, Box]:
    """Crop an image to its data, as input of the networks.

    Padding is removed. Other regions outside of the field of view are darkened unless they are
    dark already (`convex_hull.darkened`).

    Args:
        image: CT or MR in canonical orientation.

    Returns:
        The cropped image, its field of view, and its box in the image.
    """
    box = data_box(image.array)
    image = crop_volume(image, box)
    view = FieldOfView.of_image(image)
    return image.with_array(darkened(image.array)), view, box


def crop_volume(volume: Volume, box: Box) -> Volume:
    """Crop a volume to a box. Voxels keep their position in the patient."""
    array = volume.array[box]
    if array.shape == volume.array.shape:
        return volume
    origin = volume.geometry.to_lps_mm([part.start for part in box])
    changes = {"shape": array.shape, "origin_lps_mm": tuple(map(float, origin))}
    geometry = replace(volume.geometry, **changes)
    return replace(volume, array=np.ascontiguousarray(array), geometry=geometry)


def pad_to_image(labels: np.ndarray, image: Volume, box: Box) -> np.ndarray:
    """Pad labels of a box of an image with zeros to the shape of the image."""
    if labels.shape == image.array.shape:
        return labels
    whole = np.zeros(image.array.shape, labels.dtype)
    whole[box] = labels
    return whole


def without_padding(image: Volume) -> Volume:
    """Return an image in any orientation without padding, to judge its intensities."""
    part = crop_volume(image, data_box(image.array))
    return part.with_array(darkened(part.array))


def _padding(array: np.ndarray, axis: int, step: int, options: TruncationOptions) -> int:
    """Return the number of layers of padding at one side."""
    layers = np.moveaxis(array, axis, 0)[::step]
    count, value = 0, layers[0].flat[0]
    while count < len(layers) and _is_flat(layers[count], value):
        count += 1
    if not count or count > len(layers) - 2:
        return 0
    first, second = layers[count], layers[count + 1]
    if np.mean(first != value) < options.abrupt_share:
        return 0
    return count + int(_is_blended(first, second, float(value), options))


def _is_flat(layer: np.ndarray, value: float) -> bool:
    return bool((layer[::16, ::16] == value).all() and (layer == value).all())


def _is_blended(
    first: np.ndarray, second: np.ndarray, value: float, options: TruncationOptions
) -> bool:
    """Return whether a layer is a blend of the padding and the next layer."""
    data = second != value
    first, second = first[data], second[data]
    if not data.any():
        return False
    low, high = np.percentile(second, (5, 95))
    if max(low - value, value - high) <= options.padding_distance * (high - low):
        return False
    near, far = (np.abs(layer.astype(np.float64) - value) for layer in (first, second))
    clear = near + far >= np.median(near + far)
    share = np.median(near[clear] / np.maximum(far[clear], 1e-9))
    return bool(share < options.blended_share)


def _gaps(array: np.ndarray, box: Box, axis: int, options: TruncationOptions) -> np.ndarray:
    """Return whether each layer of an array lies in a gap between data, bool (n,)."""
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
        if all(np.mean(data != gap.flat[0]) >= options.abrupt_share for data, gap in beside):
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
    """Return the number of lines along an axis that contain voxels."""
    a, b = (voxels[:, k].astype(np.int64) for k in range(3) if k != axis)
    return len(np.unique(a * (1 << 31) + b))
