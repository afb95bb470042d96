"""The vertebral body from C2 to L6."""

from __future__ import annotations

import numpy as np

from spinemamba.phantom.curve import Placed
from spinemamba.phantom.sdf import Distance, smooth_min


def body_distance(placed: Placed) -> Distance:
    """Return the distance to a body with a waist, concave endplates and posterior wall."""
    shape = placed.shape
    neck = placed.name[0] == "C"
    waist, hollow, widest = (0.07, 0.6, 0.05) if neck else (0.10, 1.3, 0.16)
    half = shape.height / 2
    # The largest width is posterior to the centre: the anterior wall is round, the posterior flat.
    middle = widest * shape.depth
    front, back = shape.wall + middle, shape.wall - middle

    def distance(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        girth = _girth(x, y, z * np.float32(1 / half), (waist, shape.lip))
        notch = np.float32(2.2) * np.exp(-((x / np.float32(0.3 * shape.width)) ** 2))
        u = np.abs(x) / (girth * np.float32(shape.width / 2))
        v = (y - np.float32(middle)) / girth
        ahead = np.sqrt(u**2 + (v / np.float32(front)) ** 2)
        behind = (u**3 + np.abs(v / (np.float32(back) - notch)) ** 3) ** np.float32(1 / 3)
        ratio = np.maximum(np.where(v < 0, ahead, behind), np.float32(1e-3))
        radius = np.sqrt(x * x + (y - np.float32(middle)) ** 2)
        side = radius * (1 - 1 / ratio)
        side = np.where(ratio < 0.3, np.float32(-0.3 * shape.wall), side)
        dish = np.float32(hollow) * np.maximum(1 - (ratio / 0.85) ** 2, 0)
        top = z - (half + placed.top[0] * x + placed.top[1] * y) + dish
        if shape.crush:
            lost = np.clip(0.5 - y / shape.depth, 0, 1) * np.float32(shape.crush * shape.height)
            top = top + lost
        bottom = (-half + placed.bottom[0] * x + placed.bottom[1] * y) - z + dish
        ends = np.maximum(top, bottom)
        solid = -smooth_min(-side, -ends, 2.0)
        if not neck:
            return solid
        # Uncinate processes: raised lateral rims of the upper endplate.
        lip = np.sqrt((np.abs(x) - shape.width / 2 + 1.2) ** 2 + (z - half - 0.5) ** 2) - 2.0
        lip = np.maximum(lip, np.abs(y - 1.0) - 0.32 * shape.depth)
        return smooth_min(solid, lip, 2.0)

    return distance


def _girth(
    x: np.ndarray, y: np.ndarray, level: np.ndarray, amount: tuple[float, float]
) -> np.ndarray:
    """Return the relative width of the body at a height from -1 (bottom) to 1 (top).

    ``amount`` is the depth of the waist and the size of irregular osteophytes at the rims.
    """
    waist, lip = amount
    girth = 1 - np.float32(waist) * np.maximum(1 - level * level, 0) - np.float32(0.02) * level
    where = 0.6 + 0.4 * np.sin(x * np.float32(0.19) + y * np.float32(0.13))
    return girth + np.float32(lip) * where * level**6
