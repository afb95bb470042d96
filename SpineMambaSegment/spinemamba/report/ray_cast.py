"""Ray casting of labels to a 3-D view, without a display or a graphics library.

Parallel rays are followed through the smoothed labels to the bone surface, which is shaded with a
light near the viewer. A renderer would need a dependency that does not work on every server.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.imaging.volume import Volume

_GRID_MM, _SMOOTH_MM, _STEP_MM = 1.0, 0.9, 1.0
_SMOOTH_VOXELS = 0.6
"""Smallest smoothing in voxels, against steps of coarse voxels."""

_LIGHT = np.array([0.55, -0.35, -0.75])
"""Direction of the light in the picture: up, to the left, and towards the viewer."""

_AMBIENT = 0.3
_MARGIN_MM = 4.0


def render_labels(labels: Volume, turn_deg: float, pixel_mm: float = 0.7) -> np.ndarray:
    """Return a 3-D view of all labels in their colours.

    Args:
        labels: Label image in canonical orientation with at least one label.
        turn_deg: View from the front (0), the patient's left (90) or the back (180).
        pixel_mm: Pixel size.

    Returns:
        RGBA in [0, 1], (rows, columns, 4); row 0 is the top.
    """
    small, spacing = _small(labels)
    smooth_mm = np.maximum(_SMOOTH_MM, _SMOOTH_VOXELS * spacing)
    solid = ndimage.gaussian_filter((small > 0).astype(np.float32), smooth_mm / spacing)
    turn = np.radians(turn_deg)
    # Axes of the picture in z, y, x: up, right, and away from the viewer.
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
    hit = np.isfinite(depth)
    points = start[hit] + depth[hit][:, None] * axes[2]
    picture = np.zeros((*depth.shape, 4))
    shade = _shade(solid, spacing, points, axes)
    picture[hit] = np.column_stack(
        [_colours(small, spacing, points, axes[2]) * shade[:, None], np.ones(len(points))]
    )
    return picture


def _small(labels: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Return the labelled part on a coarse grid, and its spacing in mm."""
    box = ndimage.find_objects((labels.array > 0).astype(np.uint8))[0]
    steps = [max(1, round(_GRID_MM / s)) for s in labels.spacing_mm]
    part = labels.array[box][:: steps[0], :: steps[1], :: steps[2]]
    spacing = np.array(labels.spacing_mm) * steps
    return np.pad(part, [(int(np.ceil(_MARGIN_MM / s)),) * 2 for s in spacing]), spacing


def _sample(
    array: np.ndarray, spacing: np.ndarray, points: np.ndarray, order: int = 1
) -> np.ndarray:
    return ndimage.map_coordinates(array, np.moveaxis(points / spacing, -1, 0), order=order)


def _depth(
    solid: np.ndarray, spacing: np.ndarray, start: np.ndarray, ahead: np.ndarray, far_mm: float
) -> np.ndarray:
    """Return the distance to bone along each ray, (rows, columns); infinite if it hits none."""
    depth = np.full(start.shape[:2], np.inf)
    before = np.zeros(start.shape[:2])
    for distance in np.arange(0.0, far_mm, _STEP_MM):
        active = ~np.isfinite(depth)
        values = _sample(solid, spacing, start[active] + distance * ahead)
        last = before[active]
        part = np.clip((0.5 - last) / np.maximum(values - last, 1e-6), 0, 1)
        depth[active] = np.where(values >= 0.5, distance - _STEP_MM * (1 - part), np.inf)
        before[active] = values
    return depth


def _shade(
    solid: np.ndarray, spacing: np.ndarray, points: np.ndarray, axes: np.ndarray
) -> np.ndarray:
    """Return the brightness of the surface at points, in [0, 1] (Lambertian with ambient light)."""
    normal = np.stack(
        [
            _sample(solid, spacing, points - axis) - _sample(solid, spacing, points + axis)
            for axis in axes
        ],
        axis=-1,
    )
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    diffuse = np.clip(normal @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    return _AMBIENT + (1 - _AMBIENT) * diffuse


def _colours(
    small: np.ndarray, spacing: np.ndarray, points: np.ndarray, ahead: np.ndarray
) -> np.ndarray:
    """Return the colours of the labels just below the surface, (n, 3)."""
    values = np.zeros(len(points), int)
    for below_mm in (0.5, 1.2, 2.0, 3.0):
        missing = values == 0
        values[missing] = _sample(small, spacing, points[missing] + below_mm * ahead, order=0)
    table = np.full((max(BY_VALUE) + 1, 3), 0.6)
    for value, label in BY_VALUE.items():
        table[value] = np.array(label.color) / 255
    return table[values]
