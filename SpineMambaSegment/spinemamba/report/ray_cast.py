"""A 3-D picture of labels without a screen, a window system or a graphics library.

Parallel rays walk through the smoothed labels until they meet bone; the picture shows what they
met, lit from the reader's side. A renderer would bring a dependency that does not work on every
server.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.imaging.volume import Volume

GRID_MM, SMOOTH_MM, STEP_MM = 1.0, 0.9, 1.0
SMOOTH_VOXELS = 0.6
"""Coarse voxels are smoothed more, lest the surface is all steps."""

LIGHT = np.array([0.55, -0.35, -0.75])
"""Towards the light in the picture: up, to the left, and towards the reader."""

AMBIENT = 0.3
MARGIN_MM = 4.0


def solid_picture(labels: Volume, turn_deg: float, pixel_mm: float = 0.7) -> np.ndarray:
    """Return the surface of all labels, in their colours.

    Args:
        labels: Label values in canonical orientation, at least one of them.
        turn_deg: 0 looks from the front, 90 from the patient's left, 180 from behind.
        pixel_mm: Size of a pixel.

    Returns:
        Red, green, blue, opacity in [0, 1], (rows, columns, 4); row 0 is the highest.
    """
    small, spacing = _small(labels)
    smooth_mm = np.maximum(SMOOTH_MM, SMOOTH_VOXELS * spacing)
    solid = ndimage.gaussian_filter((small > 0).astype(np.float32), smooth_mm / spacing)
    turn = np.radians(turn_deg)
    # Of the picture, in z, y, x: up, to its right, and away from the reader.
    across = np.array([0.0, np.sin(turn), np.cos(turn)])
    axes = np.array([(1.0, 0.0, 0.0), across, (0.0, np.cos(turn), -np.sin(turn))])
    corners = np.argwhere(np.ones((2, 2, 2))) * (np.array(small.shape) - 1) * spacing
    low, high = (corners @ axes.T).min(axis=0), (corners @ axes.T).max(axis=0)
    rows = np.arange(high[0], low[0], -pixel_mm)
    columns = np.arange(low[1], high[1], pixel_mm)
    start = np.stack(
        [*np.meshgrid(rows, columns, indexing="ij"), np.full((len(rows), len(columns)), low[2])], -1
    )
    start = start @ axes
    depth = _depth(solid, spacing, start, axes[2], float(high[2] - low[2]))
    met = np.isfinite(depth)
    places = start[met] + depth[met][:, None] * axes[2]
    picture = np.zeros((*depth.shape, 4))
    shade = _shade(solid, spacing, places, axes)
    picture[met] = np.column_stack(
        [_colours(small, spacing, places, axes[2]) * shade[:, None], np.ones(len(places))]
    )
    return picture


def _small(labels: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Return the labelled part on a coarse grid, and its spacing in mm."""
    found = ndimage.find_objects((labels.array > 0).astype(np.uint8))[0]
    steps = [max(1, round(GRID_MM / s)) for s in labels.spacing_mm]
    part = labels.array[found][:: steps[0], :: steps[1], :: steps[2]]
    spacing = np.array(labels.spacing_mm) * steps
    return np.pad(part, [(int(np.ceil(MARGIN_MM / s)),) * 2 for s in spacing]), spacing


def _sample(
    solid: np.ndarray, spacing: np.ndarray, places: np.ndarray, order: int = 1
) -> np.ndarray:
    return ndimage.map_coordinates(solid, np.moveaxis(places / spacing, -1, 0), order=order)


def _depth(
    solid: np.ndarray, spacing: np.ndarray, start: np.ndarray, ahead: np.ndarray, far_mm: float
) -> np.ndarray:
    """Return how far rays go until they meet bone, (rows, columns); infinite where they do not."""
    depth = np.full(start.shape[:2], np.inf)
    before = np.zeros(start.shape[:2])
    for distance in np.arange(0.0, far_mm, STEP_MM):
        open_ = ~np.isfinite(depth)
        values = _sample(solid, spacing, start[open_] + distance * ahead)
        last = before[open_]
        part = np.clip((0.5 - last) / np.maximum(values - last, 1e-6), 0, 1)
        depth[open_] = np.where(values >= 0.5, distance - STEP_MM * (1 - part), np.inf)
        before[open_] = values
    return depth


def _shade(
    solid: np.ndarray, spacing: np.ndarray, places: np.ndarray, axes: np.ndarray
) -> np.ndarray:
    """Return how bright the surface is at places, in [0, 1]."""
    slope = np.stack(
        [
            _sample(solid, spacing, places - axis) - _sample(solid, spacing, places + axis)
            for axis in axes
        ],
        axis=-1,
    )
    slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
    lit = np.clip(slope @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
    return AMBIENT + (1 - AMBIENT) * lit


def _colours(
    small: np.ndarray, spacing: np.ndarray, places: np.ndarray, ahead: np.ndarray
) -> np.ndarray:
    """Return the colours of the labels just below the surface, (n, 3)."""
    values = np.zeros(len(places), int)
    for below_mm in (0.5, 1.2, 2.0, 3.0):
        missing = values == 0
        values[missing] = _sample(small, spacing, places[missing] + below_mm * ahead, order=0)
    table = np.full((max(BY_VALUE) + 1, 3), 0.6)
    for value, label in BY_VALUE.items():
        table[value] = np.array(label.color) / 255
    return table[values]
