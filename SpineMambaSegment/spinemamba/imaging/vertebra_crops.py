"""Straightened crops of an image: one for each vertebra, in the frame of the spine.

The rows of a crop follow the direction of the centre line at the vertebra, its columns the
patient's left. All crops show their vertebra at the same place and upright, however the spine is
curved. They are wide enough for the heads of the ribs and the beginning of the ribs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from spinemamba.imaging.curved_planar import trace_spine
from spinemamba.imaging.resample import crop_geometry, grid_with_spacing, resample_box
from spinemamba.imaging.straighten import moving_frame, unit
from spinemamba.imaging.truncation import FieldOfView
from spinemamba.imaging.volume import Geometry, Volume

CROP_VOX = (32, 48, 80)
"""Size of a crop: up, backwards, to the left."""

CROP_MM = 2.0
"""Voxel size of a crop."""

CROP_CENTRE_VOX = (15.5, 23.5, 39.5)
"""Position of the centre of the vertebral body in a crop."""

OUTSIDE = -1.0
"""Value of the normalised image outside of the field of view."""

_VIEW_STEP_VOX = 4
"""Step at which an oblique end of the field of view is sampled: a test against the hull of the data
takes longer than everything else. It divides `CROP_VOX`."""

_MOST_ASIDE_MM = 14.0
"""Largest distance of a vertebral body from the middle between its neighbours, across the spine.
In a curve of 60 degrees over four vertebrae it is 6 mm."""

_MOST_ASIDE_END_MM = 35.0
"""The same at the ends, from the line through the next two: the sacrum turns backwards."""

IMAGE, IN_VIEW, THIS, OTHERS = range(4)
"""Channels of a crop: the image, the field of view, the mask of the vertebra, and the mask of the
other vertebrae."""


@dataclass(frozen=True)
class VertebraFrames:
    """Frames of the vertebrae, from top to bottom.

    Attributes:
        numbers: Value of each vertebra in the label map, (n,).
        centres_mm: Centre of the vertebral body along z, y, x from the first voxel, (n, 3).
        axes: Unit vectors (z, y, x) upwards along the spine, to the back and to the left; the
            rows of (n, 3, 3).
    """

    numbers: np.ndarray
    centres_mm: np.ndarray
    axes: np.ndarray

    def points_mm(self) -> np.ndarray:
        """Return the positions of the voxels of all crops, (n, *CROP_VOX, 3) along z, y, x."""
        return self.centres_mm[:, None, None, None] + np.einsum(
            "dhwk,nkc->ndhwc", crop_offsets_mm(), self.axes
        )


def crop_offsets_mm() -> np.ndarray:
    """Return the positions in a crop relative to the body's centre, (*CROP_VOX, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, CROP_VOX), indexing="ij"), axis=-1)
    return (index - np.array(CROP_CENTRE_VOX)) * CROP_MM


def vertebra_frames(numbers: Volume) -> VertebraFrames:
    """Return the frame of each vertebra of a label map.

    Args:
        numbers: Number of the vertebra of each voxel, ascending from top to bottom, in canonical
            orientation.
    """
    bodies_mm = trace_spine(numbers).bodies_mm
    order = sorted(bodies_mm)
    if not order:
        return VertebraFrames(np.zeros(0, int), np.zeros((0, 3)), np.zeros((0, 3, 3)))
    centres_mm = np.array([bodies_mm[number] for number in order])
    frame = moving_frame(dict(enumerate(_without_outliers(centres_mm))), 1.0)
    gaps_mm = np.linalg.norm(frame.points_mm[:, None] - centres_mm, axis=-1)
    rows = gaps_mm.argmin(axis=0)
    up = np.cross(frame.back[rows], frame.left[rows])
    axes = np.stack([up, frame.back[rows], frame.left[rows]], axis=1)
    return VertebraFrames(np.array(order), centres_mm, axes)


def _without_outliers(centres_mm: np.ndarray) -> np.ndarray:
    """Return the centres (n, 3) with those far from the line of their neighbours moved onto it.

    An instance that is not a vertebra, or that contains a calcified aorta, would bend the line at
    its neighbours.
    """
    places = centres_mm.copy()
    for _ in places:
        expected = _from_neighbours(places)
        along = unit(np.gradient(expected, axis=0)) if len(places) > 2 else np.zeros_like(places)
        away = places - expected
        aside_mm = np.linalg.norm(away - (away * along).sum(-1, keepdims=True) * along, axis=-1)
        limits_mm = np.full(len(places), _MOST_ASIDE_MM)
        limits_mm[[0, -1]] = _MOST_ASIDE_END_MM
        worst = int((aside_mm / limits_mm).argmax())
        if len(places) < 3 or aside_mm[worst] <= limits_mm[worst]:
            break
        places[worst] = expected[worst]
    return places


def _from_neighbours(places: np.ndarray) -> np.ndarray:
    """Return where each centre (n, 3) should be: halfway between, or beyond, its neighbours."""
    expected = places.copy()
    if len(places) > 2:
        expected[1:-1] = (places[:-2] + places[2:]) / 2
        expected[0] = 2 * places[1] - places[2]
        expected[-1] = 2 * places[-2] - places[-3]
    return expected


def vertebra_crops(
    image: Volume, numbers: Volume, view: FieldOfView | None = None
) -> tuple[VertebraFrames, np.ndarray]:
    """Return the frames and the crops of all vertebrae.

    Args:
        image: Normalised image, canonical orientation.
        numbers: Number of the vertebra of each voxel, ascending from top to bottom; its grid has
            parallel axes.
        view: Field of view of ``image``; None if it fills the grid.

    Returns:
        Frames, and crops (n, 4, *CROP_VOX), float32.
    """
    frames = vertebra_frames(numbers)
    crops = np.zeros((len(frames.numbers), 4, *CROP_VOX), np.float32)
    if not len(frames.numbers):
        return frames, crops
    points_mm = frames.points_mm()
    found = _nearest(numbers.array, points_mm / np.array(numbers.spacing_mm))
    crops[:, THIS] = found == frames.numbers[:, None, None, None]
    crops[:, OTHERS] = (found > 0) & (crops[:, THIS] == 0)
    crops[:, IMAGE], crops[:, IN_VIEW] = _sampled(image, numbers.geometry, points_mm, view)
    return frames, crops


def _sampled(
    image: Volume, origin: Geometry, points_mm: np.ndarray, view: FieldOfView | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image and the field of view at points (..., 3) from the first voxel of a grid."""
    first_vox = image.geometry.to_index_zyx(np.asarray(origin.origin_lps_mm))
    points_mm = points_mm + first_vox * np.array(image.spacing_mm)
    in_view = _in_view(points_mm / np.array(image.spacing_mm), image.geometry, view)
    box = _box_around(points_mm, image.geometry)
    part = crop_geometry(image.geometry, box)
    # First to the voxel size of the crops: sampling a finer image at points would be noisy.
    grid = grid_with_spacing(part, CROP_MM)
    values = resample_box(image.array[box], part, grid)
    shift_mm = np.array([s.start for s in box]) * np.array(image.spacing_mm)
    # The outer faces of the first voxels coincide, not their centres.
    shift_mm = shift_mm + (CROP_MM - np.array(image.spacing_mm)) / 2
    found = _linear(values, (points_mm - shift_mm) / CROP_MM)
    return np.where(in_view, found, OUTSIDE), in_view


def _nearest(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return the values at the nearest voxels of an index (..., 3); 0 outside."""
    nearest = np.round(index).astype(int)
    inside = ((nearest >= 0) & (nearest < array.shape)).all(axis=-1)
    z, y, x = np.moveaxis(np.clip(nearest, 0, np.array(array.shape) - 1), -1, 0)
    return np.where(inside, array[z, y, x], 0)


def _linear(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return trilinear samples at an index (..., 3); the border is repeated outside."""
    size = np.array(array.shape)
    unit = (index * 2 + 1) / size - 1
    # Ten times as fast as scipy's, for millions of points.
    sampled = functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(array, np.float32))[None, None],
        torch.from_numpy(unit[..., ::-1].astype(np.float32)).reshape(1, 1, 1, -1, 3),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return sampled.numpy().reshape(index.shape[:-1])


def _in_view(index: np.ndarray, image: Geometry, view: FieldOfView | None) -> np.ndarray:
    """Return which voxels of crops (n, *CROP_VOX, 3), in voxels of the image, are in view."""
    inside = ((index > -0.5) & (index < np.array(image.shape) - 0.5)).all(axis=-1)
    if view is None:
        return inside
    step = _VIEW_STEP_VOX
    some = index[:, step // 2 :: step, step // 2 :: step, step // 2 :: step]
    nearest = np.clip(np.round(some).astype(int), 0, np.array(image.shape) - 1)
    outside = view.outside(nearest.reshape(-1, 3)).reshape(some.shape[:-1])
    for axis in (1, 2, 3):
        outside = outside.repeat(step, axis=axis)
    return inside & ~outside


def _box_around(points_mm: np.ndarray, geometry: Geometry) -> tuple[slice, slice, slice]:
    """Return the box of voxels around points (..., 3), within the grid and never empty."""
    index = points_mm.reshape(-1, 3) / np.array(geometry.spacing_mm)
    low = np.floor(index.min(axis=0)).astype(int) - 2
    high = np.ceil(index.max(axis=0)).astype(int) + 3
    starts = [min(max(0, int(a)), n - 1) for a, n in zip(low, geometry.shape, strict=True)]
    stops = [
        min(n, max(int(b), a + 1)) for a, b, n in zip(starts, high, geometry.shape, strict=True)
    ]
    z, y, x = (slice(a, b) for a, b in zip(starts, stops, strict=True))
    return z, y, x
