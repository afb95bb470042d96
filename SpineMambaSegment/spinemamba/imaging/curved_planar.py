"""Curved planar reformation that keeps heights: sagittal and coronal views along the spine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.common.stepwise import Steps, run_to_end
from spinemamba.imaging.masks import BODY_DEPTH_POWER
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.volume import Box, Volume

_SEARCH_MM = 2.0
"""Step at which the spine is traced; bodies are far larger."""

_FRONT_DECAY = 5.0
"""Weights fall by exp(-_FRONT_DECAY) from the anterior to the posterior end of a vertebra.

In the neck, where facet joints are as deep as bodies, depth alone does not select the body.
"""

_SMOOTH_MM = 8.0
"""Standard deviation of the smoothing along z, which bridges the discs."""

SLAB_MM = (-1.0, 0.0, 1.0)
"""Offsets of the averaged surfaces: a thin slab has less noise and keeps edges."""

_MARGIN_MM = {"z": (20.0, 20.0), "y": (60.0, 30.0), "x": (45.0, 45.0)}
"""Margin before the first and after the last voxel of the spine, along each axis."""


@dataclass(frozen=True)
class View:
    """A reformatted view with square pixels; row 0 is the lowest.

    Attributes:
        image: Values of the image, (rows, columns), float32.
        labels: Label values, (rows, columns).
        pixel_mm: Pixel size.
        bodies: Row and column of the centre of the body of each label value.
        corner_mm: Position of row 0, column 0 in mm along the canonical image's axes from its
            first voxel; None if rows and columns are not parallel to them.
    """

    image: np.ndarray
    labels: np.ndarray
    pixel_mm: float
    bodies: dict[int, tuple[float, float]]
    corner_mm: tuple[float, float] | None = None


@dataclass(frozen=True)
class SpineLine:
    """Line through the vertebral bodies, and their centres.

    Attributes:
        heights_mm: Heights above the first slice, ascending, (n,).
        places_mm: y and x of the line at these heights, from the first voxel, (n, 2).
        bodies_mm: Centre of the body of each label value, z, y, x.
        box_mm: First and last labelled z, y, x, (2, 3); the whole image if nothing is labelled.
    """

    heights_mm: np.ndarray
    places_mm: np.ndarray
    bodies_mm: dict[int, np.ndarray]
    box_mm: np.ndarray


def side_and_front(image: Volume, labels: Volume, pixel_mm: float = 0.5) -> tuple[View, View]:
    """Return the sagittal view (anterior left) and the coronal view (patient's right left).

    Args:
        image: Segmented image, in any orientation.
        labels: Label values on the same grid.
        pixel_mm: Pixel size.
    """
    image, labels = canonical(image)[0], canonical(labels)[0]
    line = trace_spine(labels)
    return _view(image, labels, line, ("y", pixel_mm)), _view(image, labels, line, ("x", pixel_mm))


def trace_spine(labels: Volume) -> SpineLine:
    """Find the line through the vertebral bodies, the deep anterior parts of the vertebrae.

    Args:
        labels: Label values in canonical orientation.
    """
    return run_to_end(trace_spine_in_steps(labels))


def trace_spine_in_steps(labels: Volume) -> Steps[SpineLine]:
    """`trace_spine`, one vertebra per step."""
    steps = [max(1, round(_SEARCH_MM / s)) for s in labels.spacing_mm]
    small = np.ascontiguousarray(labels.array[:: steps[0], :: steps[1], :: steps[2]])
    spacing = np.array(labels.spacing_mm) * steps
    yield
    boxes = _boxes(small)
    yield
    depth = yield from _depth(small, spacing, boxes)
    sums = np.zeros((small.shape[0], 3))
    bodies = {}
    for value, box in boxes:
        inside = small[box] == value
        at = np.argwhere(inside)
        front = np.exp(-_FRONT_DECAY * at[:, 1] / inside.shape[1])
        weight = depth[box][inside] ** BODY_DEPTH_POWER * front
        at += [s.start for s in box]
        bodies[value] = (at * weight[:, None]).sum(axis=0) / weight.sum() * spacing
        terms = weight[:, None] * np.concatenate([at[:, 1:], np.ones((len(at), 1))], axis=1)
        np.add.at(sums, at[:, 0], terms)
        yield
    first = [[s.start for s in box] for _, box in boxes] or [[0, 0, 0]]
    stop = [[s.stop for s in box] for _, box in boxes] or [small.shape]
    box_mm = np.stack([np.min(first, axis=0), np.max(stop, axis=0) - 1]) * spacing
    if not bodies:
        sums[:] = (*np.array(small.shape[1:]) / 2, 1.0)
    return SpineLine(*_line(sums, spacing), bodies, box_mm)


def _depth(
    small: np.ndarray, spacing: np.ndarray, boxes: list[tuple[int, Box]]
) -> Steps[np.ndarray]:
    """Return the depth of each voxel in its vertebra, relative to the vertebra's maximum."""
    depth = np.zeros(small.shape, np.float32)
    deepest = {}
    for value, box in boxes:
        inside = small[box] == value
        distance = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing)
        distance = distance[1:-1, 1:-1, 1:-1]
        deepest[value] = float(distance.max())
        depth[box][inside] = distance[inside]
        yield
    # A small rest of a truncated vertebra must not weigh as much as a body.
    least = float(np.median(list(deepest.values()))) if deepest else 1.0
    for value, box in boxes:
        inside = small[box] == value
        depth[box][inside] /= max(deepest[value], least)
    return depth


def _boxes(small: np.ndarray) -> list[tuple[int, Box]]:
    boxes = enumerate(ndimage.find_objects(small), start=1)
    return [(value, box) for value, box in boxes if box is not None]


def _line(sums: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth the weighted positions along z; return heights, and y and x at each."""
    smooth = ndimage.gaussian_filter1d(sums, _SMOOTH_MM / spacing[0], axis=0, mode="constant")
    rows = np.flatnonzero(smooth[:, 2] > 0)
    places = smooth[rows, :2] / smooth[rows, 2:]
    return rows * spacing[0], places * spacing[1:]


def _view(image: Volume, labels: Volume, line: SpineLine, kind: tuple[str, float]) -> View:
    """Sample image and labels on the curved surface along the spine and the ``y`` or ``x`` axis."""
    across, pixel_mm = kind
    axis = "zyx".index(across)
    rows_mm = _range(line, image, "z", pixel_mm)
    columns_mm = _range(line, image, across, pixel_mm)
    places = np.stack(
        [np.interp(rows_mm, line.heights_mm, line.places_mm[:, k]) for k in (0, 1)], axis=1
    )
    surface = np.empty((3, len(rows_mm), len(columns_mm)))
    surface[0] = rows_mm[:, None]
    surface[axis] = columns_mm
    surface[3 - axis] = places[:, 2 - axis, None]
    per_voxel = 1 / np.array(image.spacing_mm)[:, None, None]
    averaged = np.zeros(surface.shape[1:], np.float32)
    for offset in SLAB_MM:
        moved = surface.copy()
        moved[3 - axis] += offset
        averaged += ndimage.map_coordinates(
            image.array, moved * per_voxel, np.float32, order=1, mode="nearest"
        )
    label_values = ndimage.map_coordinates(
        labels.array, surface * per_voxel, order=0, mode="nearest"
    )
    bodies = {
        value: ((at[0] - rows_mm[0]) / pixel_mm, (at[axis] - columns_mm[0]) / pixel_mm)
        for value, at in line.bodies_mm.items()
    }
    corner_mm = float(rows_mm[0]), float(columns_mm[0])
    return View(averaged / len(SLAB_MM), label_values, pixel_mm, bodies, corner_mm)


def _range(line: SpineLine, image: Volume, name: str, pixel_mm: float) -> np.ndarray:
    """Return pixel positions along an axis, over the spine and a margin within the image."""
    axis = "zyx".index(name)
    before, after = _MARGIN_MM[name]
    end = (image.array.shape[axis] - 1) * image.spacing_mm[axis]
    first = max(0.0, line.box_mm[0, axis] - before)
    last = min(end, line.box_mm[1, axis] + after)
    return np.arange(first, last + pixel_mm / 2, pixel_mm)
