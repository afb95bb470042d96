"""Divide the sacrum: first sacral body, alae, superior articular processes, median crest."""

from __future__ import annotations

import numpy as np

from spinemamba.anatomy.parts import ALAE, FIRST_SACRAL_BODY, MEDIAN_CREST, SUPERIOR, UNDIVIDED
from spinemamba.measure.body import Body

_HEIGHT = 0.85
"""Height of the first sacral body, as share of its depth; labels do not show where it is fused."""

_CREST_HALF_MM, _GAP_MM, _BIN_MM = 4.0, 3.0, 2.0
"""Half width of the median crest, least depth of the sacral canal, and height of a section."""


def divide_sacrum(body: Body, wall_mm: float, places_mm: np.ndarray) -> np.ndarray:
    """Return the part of each voxel of the sacrum, (n,) uint8.

    Args:
        body: The first sacral body; has an upper endplate.
        wall_mm: Y of its posterior wall.
        places_mm: Voxels in its frame, (n, 3).
    """
    x, y, z = np.abs(places_mm[:, 0]), places_mm[:, 1], places_mm[:, 2]
    half_width = body.extent.half_width_mm
    top = body.plates[1].plane.height_mm(places_mm[:, 0], y)
    floor = float(body.plates[1].plane.level_mm) - _HEIGHT * 2 * body.extent.half_depth_mm
    left = places_mm[:, 0] >= 0
    alae, superior = (np.where(left, *(p.value for p in pair)) for pair in (ALAE, SUPERIOR))
    out = np.full(len(places_mm), UNDIVIDED.value, np.uint8)
    first = z > floor
    canal_back = wall_mm + body.extent.half_depth_mm
    ala = first & (x >= half_width) & (y < canal_back)
    out[ala] = alae[ala]
    out[first & (x < half_width) & (y < wall_mm)] = FIRST_SACRAL_BODY.value
    process = (y > wall_mm) & (z > np.minimum(top, _level_behind(body, wall_mm)))
    out[process] = superior[process]
    out[_crest(x, y, z)] = MEDIAN_CREST.value
    return out


def _level_behind(body: Body, wall_mm: float) -> float:
    """Return Z of the upper endplate at the posterior wall."""
    return float(body.plates[1].plane.height_mm(0.0, wall_mm))


def _crest(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return which voxels lie on the midline behind the sacral canal, (n,) bool."""
    out = np.zeros(len(x), bool)
    middle = np.flatnonzero(x < _CREST_HALF_MM)
    if not len(middle):
        return out
    rows = ((z[middle] - z[middle].min()) / _BIN_MM).astype(int)
    for row in range(int(rows.max()) + 1):
        here = middle[rows == row]
        depths = np.sort(y[here])
        gaps = np.flatnonzero(np.diff(depths) > _GAP_MM)
        if len(gaps):
            out[here] = y[here] > depths[gaps[-1]]
    return out
