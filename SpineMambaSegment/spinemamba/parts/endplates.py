"""Endplates: shells of stated thickness at the ends of a vertebral body."""

from __future__ import annotations

import numpy as np

from spinemamba.measure.body import Body
from spinemamba.measure.frame import Patch

ENDPLATE_MM = 2.0
"""Thickness of an endplate, at least one layer of voxels."""

_NEAR_MM = 5.0
"""Distance below the endplate's plane up to which its surface is searched; it may be concave."""

_RIM = 1.05
"""Largest distance from the axis of the body, in half widths and half depths."""


def endplate(patch: Patch, body: Body, sign: int, places_mm: np.ndarray) -> np.ndarray:
    """Return which voxels of a body belong to its upper (1) or lower (-1) endplate, (n,) bool.

    Args:
        patch: Label image around the vertebra.
        body: The body; has this endplate.
        sign: 1 for the upper endplate, -1 for the lower one.
        places_mm: Voxels of the body in its frame, (n, 3).
    """
    plate = body.plates[sign]
    x, y, z = places_mm.T
    beyond = sign * (z - plate.plane.height_mm(x, y))
    across = np.hypot(x / body.extent.half_width_mm, y / body.extent.half_depth_mm)
    near = (beyond > -_NEAR_MM) & (across < _RIM * np.sqrt(2))
    normal = plate.plane.normal()
    thickness_mm = max(ENDPLATE_MM, patch.step_mm(normal @ body.frame.axes_lps))
    outside = np.zeros(len(places_mm), bool)
    steps = places_mm[near] + sign * thickness_mm * normal
    outside[near] = patch.share(body.frame.to_lps(steps)) < 0.5
    return outside
