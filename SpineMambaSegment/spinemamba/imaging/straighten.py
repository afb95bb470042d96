"""Curved-planar strips: the spine from the side and from the front, pulled straight.

Unlike the views of `reformat`, which keep heights, these follow the line through the bodies in
every bend: along it and across it distances are true, and the whole spine fits into two narrow
strips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.imaging.centreline import line_through
from spinemamba.imaging.curved_planar import SLAB_MM, View, follow
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.volume import Volume

SIDE_MM = (40.0, 60.0)
"""In front of the line and behind it: a lumbar body, and the spinous processes."""

FRONT_MM = (45.0, 45.0)
LEFT_ZYX = np.array([0.0, 0.0, 1.0])
"""Where the patient's left is in canonical orientation."""


@dataclass(frozen=True)
class _Frame:
    """The line and what is across it, from tail to head; (n, 3) each, along z, y, x.

    Attributes:
        points_mm: Places on the line, one for each row of the strips.
        back: Unit vectors to the patient's back, upright on the line.
        left: Unit vectors to the patient's left, upright on both.
    """

    points_mm: np.ndarray
    back: np.ndarray
    left: np.ndarray


def straighten(image: Volume, labels: Volume, pixel_mm: float = 0.8) -> tuple[View, View] | None:
    """Return the side strip (anterior on the left) and the front strip (right side on the left).

    Args:
        image: What was segmented, in any orientation.
        labels: Numbers of the vertebrae on the same grid, in any order; 0 elsewhere.
        pixel_mm: Size of a pixel.

    Returns:
        The strips; None if nothing is labelled.
    """
    image, labels = canonical(image)[0], canonical(labels)[0]
    bodies_mm = follow(labels).bodies_mm
    if not bodies_mm:
        return None
    frame = _frame(bodies_mm, pixel_mm)
    views = []
    for across, aside, reach_mm in (
        (frame.back, frame.left, SIDE_MM),
        (frame.left, frame.back, FRONT_MM),
    ):
        columns_mm = np.arange(-reach_mm[0], reach_mm[1] + pixel_mm / 2, pixel_mm)
        sheet = frame.points_mm[:, None] + columns_mm[None, :, None] * across[:, None]
        bodies = _marks(bodies_mm, frame, across, (columns_mm[0], pixel_mm))
        shown, painted = _sample(image, labels, sheet, aside)
        views.append(View(shown, painted, pixel_mm, bodies))
    return views[0], views[1]


def _frame(bodies_mm: dict[int, np.ndarray], pixel_mm: float) -> _Frame:
    """Return the line through the bodies, and what is across it."""
    # By height and not by name: names may be what is wrong.
    places = np.array(sorted(bodies_mm.values(), key=lambda place: -place[0]))
    line = line_through(places).points_mm[::-1]
    along = np.arange(0, len(line) - 1, pixel_mm)
    points = np.stack([np.interp(along, np.arange(len(line)), line[:, k]) for k in range(3)], -1)
    up = _unit(np.gradient(points, axis=0))
    left = _unit(LEFT_ZYX - (up @ LEFT_ZYX)[:, None] * up)
    # Of axes z, y, x this product is right-handed: up x left would point to the front.
    return _Frame(points, _unit(np.cross(left, up)), left)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def _marks(
    bodies_mm: dict[int, np.ndarray],
    frame: _Frame,
    across: np.ndarray,
    columns: tuple[float, float],
) -> dict[int, tuple[float, float]]:
    """Return row and column of the bodies' centres."""
    first_mm, pixel_mm = columns
    marks = {}
    for value, body in bodies_mm.items():
        row = int(np.linalg.norm(frame.points_mm - body, axis=1).argmin())
        aside_mm = float((body - frame.points_mm[row]) @ across[row])
        marks[value] = (float(row), (aside_mm - first_mm) / pixel_mm)
    return marks


def _sample(
    image: Volume, labels: Volume, sheet_mm: np.ndarray, aside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return image and numbers on a bent sheet (rows, columns, 3); dark outside of the image."""
    spacing = np.array(image.spacing_mm)
    least = float(image.array.min())
    shown = np.zeros(sheet_mm.shape[:2], np.float32)
    for offset_mm in SLAB_MM:
        at = np.moveaxis((sheet_mm + offset_mm * aside[:, None]) / spacing, -1, 0)
        shown += ndimage.map_coordinates(
            image.array, at, np.float32, order=1, mode="constant", cval=least
        )
    at = np.moveaxis(sheet_mm / spacing, -1, 0)
    painted = ndimage.map_coordinates(labels.array, at, order=0, mode="constant", cval=0)
    return shown / len(SLAB_MM), painted
