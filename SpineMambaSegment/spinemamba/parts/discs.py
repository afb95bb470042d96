"""Discs: the space between the endplates of two neighbouring bodies."""

from __future__ import annotations

import numpy as np

from spinemamba.imaging.volume import Box, Geometry, Volume
from spinemamba.measure.frame import Frame, unit
from spinemamba.measure.vertebra import Vertebra

_ROUND = 2.5
"""Exponent of the superellipse of the rim."""

_BELOW_MM = (2.0, 3.0, 4.0)
"""Distances from an endplate, inside the body, at which its rim is measured."""

_REACH_MM = 40.0
_CONCAVE_MM = 4.0
"""How far a disc may reach into the concavity of an endplate at its centre, beyond its plane."""

_LEAST_GAP_MM = 0.5


def disc_voxels(labels: Volume, upper: Vertebra, lower: Vertebra) -> tuple[Box, np.ndarray] | None:
    """Return the voxels of the disc between two neighbours.

    Args:
        labels: Label image; voxels of any vertebra do not belong to a disc.
        upper: The upper vertebra; has a lower endplate.
        lower: The lower vertebra; has an upper endplate.

    Returns:
        Box in the label image and mask in this box; None if the endplates meet.
    """
    roof, floor = upper.body.plates[-1], lower.body.plates[1]
    up = unit(roof.normal_lps + floor.normal_lps)
    centre = (roof.centre_lps_mm + floor.centre_lps_mm) / 2
    gap_mm = float((roof.centre_lps_mm - floor.centre_lps_mm) @ up)
    if gap_mm < _LEAST_GAP_MM:
        return None
    back = upper.body.frame.posterior + lower.body.frame.posterior
    frame = Frame.along(centre, up, back)
    ends = np.mean([_rim(upper, -1, frame), _rim(lower, 1, frame)], axis=0)
    frame = frame.moved((*(ends[0] - ends[1]) / 2, 0.0))
    half = (ends[0] + ends[1]) / 2
    box, places = _around(labels.geometry, frame, (*half, gap_mm + half.sum() / 4))
    if box is None:
        return None
    across = np.abs(places[..., :2] / half)
    inside = (across**_ROUND).sum(axis=-1) <= 1
    inside &= labels.array[box] == 0
    points = frame.to_lps(places)
    margin = _CONCAVE_MM * np.maximum(1 - (across**2).sum(axis=-1), 0)
    for vertebra, sign in ((upper, -1), (lower, 1)):
        inside &= _beyond_mm(vertebra, sign, points) > -margin
    return (box, inside) if inside.any() else None


def _rim(vertebra: Vertebra, sign: int, frame: Frame) -> np.ndarray:
    """Return the distances from the axis of a disc to the rim of an endplate.

    Args:
        vertebra: The vertebra.
        sign: Its upper (1) or lower (-1) endplate.
        frame: Frame of the disc.

    Returns:
        To the left and back, then to the right and front, (2, 2), in mm.
    """
    body = vertebra.body
    level = float(body.plates[sign].plane.level_mm)
    starts = body.frame.to_lps(np.array([(0.0, 0.0, level - sign * d) for d in _BELOW_MM]))
    centre = frame.to_local(starts).mean(axis=0)[:2]
    usual = body.extent.half_width_mm, body.extent.half_depth_mm
    ends = np.zeros((2, 2))
    for row, way in enumerate((1, -1)):
        for axis in (0, 1):
            exits = vertebra.patch.exits_mm(starts, way * body.frame.axes_lps[axis], _REACH_MM)
            known = exits[np.isfinite(exits)]
            size = float(np.median(known)) if len(known) else usual[axis]
            ends[row, axis] = size + way * centre[axis]
    return ends


def _beyond_mm(vertebra: Vertebra, sign: int, points_lps_mm: np.ndarray) -> np.ndarray:
    """Return the distance of points beyond an endplate's plane, outwards."""
    x, y, z = np.moveaxis(vertebra.body.frame.to_local(points_lps_mm), -1, 0)
    return sign * (z - vertebra.body.plates[sign].plane.height_mm(x, y))


def _around(
    grid: Geometry, frame: Frame, half_mm: tuple[float, float, float]
) -> tuple[Box | None, np.ndarray]:
    """Return the voxels around a frame: their box, and their centres in the frame, (z, y, x, 3)."""
    corners = np.array(np.meshgrid(*[(-r, r) for r in half_mm])).reshape(3, -1).T
    index = grid.to_index_zyx(frame.to_lps(corners))
    low = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, grid.shape)
    if (low >= high).any():
        return None, np.zeros((0, 3))
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    axes = np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij")
    return box, frame.to_local(grid.to_lps_mm(np.stack(axes, axis=-1)))
