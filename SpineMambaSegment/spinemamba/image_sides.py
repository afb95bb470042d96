"""Where the field of view ends, and what it cuts."""

from __future__ import annotations

import numpy as np

from spinemamba.volume import Geometry

CUT_MM2 = 40.0
"""Less bone than this at a side of the image is a stray voxel or the tip of a process."""


def cut_sides(voxels: np.ndarray, grid: Geometry, image: Geometry) -> tuple[str, ...]:
    """Return the sides of the image that an object reaches, and that therefore cut it.

    Args:
        voxels: Indices (n, 3) on ``grid``, canonical orientation.
        grid: Grid of the object.
        image: Grid of the image.
    """
    places = image.to_index_zyx(grid.to_lps_mm(voxels))
    spacing_mm = np.asarray(grid.spacing_mm)
    # Within one voxel of the image or of the grid, whichever is larger.
    slack = np.maximum(1.0, spacing_mm / np.asarray(image.spacing_mm))
    last = np.asarray(image.shape) - 1
    sides = []
    for axis, names in enumerate(
        (("inferior", "superior"), ("anterior", "posterior"), ("right", "left"))
    ):
        layers = max(1.0, slack[axis] * image.spacing_mm[axis] / spacing_mm[axis])
        voxel_mm2 = float(np.prod(spacing_mm)) / spacing_mm[axis] / layers
        reached = (places[:, axis] < slack[axis], places[:, axis] > last[axis] - slack[axis])
        sides += [n for n, r in zip(names, reached, strict=True) if r.sum() * voxel_mm2 >= CUT_MM2]
    return tuple(sides)


def reaches_end(rows: slice, grid: Geometry, image: Geometry) -> bool:
    """Return whether an object comes within a voxel of the image's upper or lower end.

    Args:
        rows: Its extent along z on ``grid``, canonical orientation.
        grid: Grid of the object.
        image: Grid of the image.
    """
    corners = np.array([[0.0, 0.0, 0.0], [image.shape[0] - 1.0, 0.0, 0.0]])
    low, high = grid.to_index_zyx(image.to_lps_mm(corners))[:, 0]
    slack = max(1.0, image.spacing_mm[0] / grid.spacing_mm[0])
    return bool(rows.start <= low + slack or rows.stop - 1 >= high - slack)
