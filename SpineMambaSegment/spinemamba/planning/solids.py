"""Surfaces of a plan: cylinders of corridors and drill-guide patches, closed by construction."""

from __future__ import annotations

import numpy as np

from spinemamba.export.meshing.mesh import Mesh
from spinemamba.protocol.planning.plan import Corridor

_SEGMENTS = 48


def cylinder(corridor: Corridor) -> Mesh:
    """Return a closed cylinder from entry to tip, in LPS millimetres."""
    start, tip = np.array(corridor.entry_lps_mm), np.array(corridor.tip_lps_mm)
    along = (tip - start) / np.linalg.norm(tip - start)
    helper = np.eye(3)[int(np.argmin(np.abs(along)))]
    first = np.cross(along, helper)
    first /= np.linalg.norm(first)
    second = np.cross(along, first)
    turns = np.linspace(0, 2 * np.pi, _SEGMENTS, endpoint=False)
    # The polygon has the area of the circle.
    radius = corridor.diameter_mm / 2
    radius *= np.sqrt(2 * np.pi / (_SEGMENTS * np.sin(2 * np.pi / _SEGMENTS)))
    ring = radius * (np.cos(turns)[:, None] * first + np.sin(turns)[:, None] * second)
    points = np.concatenate([start + ring, tip + ring, [start, tip]])
    k = np.arange(_SEGMENTS)
    following = (k + 1) % _SEGMENTS
    low, high = 2 * _SEGMENTS, 2 * _SEGMENTS + 1
    triangles = np.concatenate(
        [
            np.column_stack([k, following, following + _SEGMENTS]),
            np.column_stack([k, following + _SEGMENTS, k + _SEGMENTS]),
            np.column_stack([np.full_like(k, low), following, k]),
            np.column_stack([np.full_like(k, high), k + _SEGMENTS, following + _SEGMENTS]),
        ]
    )
    return Mesh(points, triangles.astype(np.int32)).facing_outwards()
