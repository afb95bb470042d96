"""Straightened curved planar reformation: sagittal and coronal strips along the centre line.

The views of `curved_planar` keep heights. These strips follow the centre line in every bend:
distances along and across it are true, and the whole spine fits into two narrow strips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.common.stepwise import Steps, run_to_end
from spinemamba.imaging.centreline import line_through
from spinemamba.imaging.curved_planar import SLAB_MM, View, trace_spine_in_steps
from spinemamba.imaging.orientation import canonical_view
from spinemamba.imaging.volume import Volume

_SIDE_MM = (40.0, 60.0)
"""Extent in front of the line (a lumbar body) and behind it (spinous processes)."""

_FRONT_MM = (45.0, 45.0)
_LEFT_ZYX = np.array([0.0, 0.0, 1.0])
"""Direction to the patient's left in canonical orientation."""


@dataclass(frozen=True)
class MovingFrame:
    """Moving frame along the centre line, caudal to cranial; arrays (n, 3) along z, y, x.

    Attributes:
        points_mm: Points on the line, one for each row of the strips.
        back: Unit vectors to posterior, orthogonal to the line.
        left: Unit vectors to the patient's left, orthogonal to the line and ``back``.
    """

    points_mm: np.ndarray
    back: np.ndarray
    left: np.ndarray


def straighten(image: Volume, labels: Volume, pixel_mm: float = 0.8) -> tuple[View, View] | None:
    """Return the sagittal strip (anterior left) and the coronal strip (patient's right left).

    Args:
        image: Segmented image, in any orientation.
        labels: Label values of the vertebrae on the same grid; 0 elsewhere.
        pixel_mm: Pixel size.

    Returns:
        The strips, or None if no voxel is labelled.
    """
    return run_to_end(straighten_in_steps(image, labels, pixel_mm))


def straighten_in_steps(
    image: Volume, labels: Volume, pixel_mm: float = 0.8
) -> Steps[tuple[View, View] | None]:
    """`straighten` in steps of some ten milliseconds."""
    least = float(image.array.min())
    # Copies of a large image in another orientation would take as long as all the rest.
    image, labels = canonical_view(image)[0], canonical_view(labels)[0]
    line = yield from trace_spine_in_steps(labels)
    bodies_mm = line.bodies_mm
    if not bodies_mm:
        return None
    frame = moving_frame(bodies_mm, pixel_mm)
    views = []
    for across, aside, reach_mm in (
        (frame.back, frame.left, _SIDE_MM),
        (frame.left, frame.back, _FRONT_MM),
    ):
        columns_mm = np.arange(-reach_mm[0], reach_mm[1] + pixel_mm / 2, pixel_mm)
        sheet = frame.points_mm[:, None] + columns_mm[None, :, None] * across[:, None]
        bodies = body_marks(bodies_mm, frame, across, (columns_mm[0], pixel_mm))
        yield
        averaged, label_values = yield from _sample(image, labels, sheet, aside, least)
        views.append(View(averaged, label_values, pixel_mm, bodies))
    return views[0], views[1]


def moving_frame(bodies_mm: dict[int, np.ndarray], pixel_mm: float) -> MovingFrame:
    """Return the moving frame along the line through the bodies."""
    # Sorted by height and not by level, because levels may be wrong.
    places = np.array(sorted(bodies_mm.values(), key=lambda place: -place[0]))
    line = line_through(places).points_mm[::-1]
    along = np.arange(0, len(line) - 1, pixel_mm)
    points = np.stack([np.interp(along, np.arange(len(line)), line[:, k]) for k in range(3)], -1)
    up = unit(np.gradient(points, axis=0))
    left = unit(_LEFT_ZYX - (up @ _LEFT_ZYX)[:, None] * up)
    # Axes are z, y, x: the product of left and up points to posterior.
    return MovingFrame(points, unit(np.cross(left, up)), left)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (..., 3) divided by their length; zero stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def body_marks(
    bodies_mm: dict[int, np.ndarray],
    frame: MovingFrame,
    across: np.ndarray,
    columns: tuple[float, float],
) -> dict[int, tuple[float, float]]:
    """Return row and column of the centre of each body on a sheet along the line.

    Args:
        bodies_mm: Centre of the body of each label value, z, y, x.
        frame: Moving frame of the rows.
        across: Directions of the columns, (n, 3).
        columns: Position of the first column from the line, and distance of the columns, in mm.
    """
    first_mm, pixel_mm = columns
    marks = {}
    for value, body in bodies_mm.items():
        row = int(np.linalg.norm(frame.points_mm - body, axis=1).argmin())
        aside_mm = float((body - frame.points_mm[row]) @ across[row])
        marks[value] = (float(row), (aside_mm - first_mm) / pixel_mm)
    return marks


def _sample(
    image: Volume, labels: Volume, sheet_mm: np.ndarray, aside: np.ndarray, outside: float
) -> Steps[tuple[np.ndarray, np.ndarray]]:
    """Sample image and labels on a curved sheet (rows, columns, 3); outside, a value and 0."""
    spacing = np.array(image.spacing_mm)
    averaged = np.zeros(sheet_mm.shape[:2], np.float32)
    for offset_mm in SLAB_MM:
        at = np.moveaxis((sheet_mm + offset_mm * aside[:, None]) / spacing, -1, 0)
        averaged += ndimage.map_coordinates(
            image.array, at, np.float32, order=1, mode="constant", cval=outside
        )
        yield
    at = np.moveaxis(sheet_mm / spacing, -1, 0)
    label_values = ndimage.map_coordinates(labels.array, at, order=0, mode="constant", cval=0)
    return averaged / len(SLAB_MM), label_values
