"""Compression fractures and laminectomies of real vertebral shapes."""

from __future__ import annotations

import numpy as np

from spinemamba.phantom.curve import Placed


def crushed(coordinates: list[np.ndarray], placed: Placed) -> list[np.ndarray]:
    """Return coordinates that reduce the anterior height of a body.

    The body is compressed towards its lower endplate, fully at the anterior edge and not at all
    behind the posterior wall, so that the arch keeps its shape.

    Args:
        coordinates: X, Y, Z in mm.
        placed: The vertebra; ``shape.crush`` is the relative loss of anterior height.
    """
    shape = placed.shape
    if not shape.crush:
        return coordinates
    x, y, z = coordinates
    share = np.clip(0.5 - y / np.float32(shape.depth), 0, 1) * np.float32(shape.crush)
    floor = np.float32(-shape.height / 2)
    return [x, y, np.where(z > floor, floor + (z - floor) / (1 - share), z)]


def laminectomy(distance: np.ndarray, coordinates: list[np.ndarray], placed: Placed) -> np.ndarray:
    """Return the signed distance to a vertebra without lamina and spinous process.

    Args:
        distance: Signed distance to the complete vertebra.
        coordinates: X, Y, Z in mm, same shape.
        placed: The vertebra.
    """
    shape = placed.shape
    x, y, _ = coordinates
    behind = np.float32(shape.canal_y + 0.25 * shape.canal_depth) - y
    beside = np.abs(x) - np.float32(0.5 * shape.canal_width + 1.0)
    return np.maximum(distance, np.minimum(-np.maximum(behind, beside), np.float32(30.0)))
