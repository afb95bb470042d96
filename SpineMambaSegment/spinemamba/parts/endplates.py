"""Endplates: shells of stated thickness at the ends of a vertebral body."""

from __future__ import annotations

import numpy as np

from spinemamba.measure.body import Body
from spinemamba.measure.frame import Patch

ENDPLATE_MM = 2.0
"""Thickness of an endplate, at least one layer of voxels."""

_NEAR_MM = 5.0
"""Distance below the endplate's plane up to which its surface is searched; it may be concave."""


def endplate(patch: Patch, body: Body, sign: int, places_mm: np.ndarray) -> np.ndarray:
    """Return which voxels of a body belong to its upper (1) or lower (-1) endplate, (n,) bool.

    The thickness is measured from the outermost voxel of each column along the body's axis.

    Args:
        patch: Label image around the vertebra.
        body: The body; has this endplate.
        sign: 1 for the upper endplate, -1 for the lower one.
        places_mm: Voxels of the body in its frame, (n, 3).
    """
    x, y, z = places_mm.T
    beyond = sign * (z - body.plates[sign].plane.height_mm(x, y))
    near = np.flatnonzero(beyond > -_NEAR_MM)
    chosen = np.zeros(len(places_mm), bool)
    if not len(near):
        return chosen
    side_mm = max(patch.step_mm(axis) for axis in body.frame.axes_lps[:2])
    cells = np.floor(places_mm[near, :2] / side_mm).astype(int)
    cells -= cells.min(axis=0)
    column = cells[:, 0] * (cells[:, 1].max() + 1) + cells[:, 1]
    outermost = np.full(int(column.max()) + 1, -np.inf)
    np.maximum.at(outermost, column, beyond[near])
    # The surface is half a step beyond the outermost voxel. Where slices are oblique to the body,
    # voxels of a column lie closer to each other along its axis.
    step_mm = patch.geometry.voxel_mm3 / side_mm**2
    reach_mm = max(ENDPLATE_MM, patch.step_mm(body.frame.up)) - step_mm / 2
    chosen[near] = outermost[column] - beyond[near] < reach_mm
    return chosen
