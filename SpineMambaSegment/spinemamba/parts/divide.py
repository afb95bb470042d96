"""Divide the voxels of a vertebra into parts, from its landmarks.

The body lies in front of its posterior wall. Behind it, each process, the pedicle and the lamina
has an axis, and a voxel belongs to the nearest one. The axis of a process begins at some distance
from the place where the pedicle ends, so that the border lies at the root of the process. The
spinous process is a plate: it begins behind the posterior surface of the laminae.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spinemamba.anatomy.parts import (
    BODY,
    INFERIOR,
    LAMINAE,
    PEDICLES,
    SPINOUS,
    SUPERIOR,
    TRANSVERSE,
    Part,
)
from spinemamba.parts.landmarks import ArchSide, Landmarks

_BESIDE_MM, _BESIDE_NECK_MM = 5.0, 1.5
"""Largest distance of the body's osteophytes beside its usual width; in the neck, the transverse
processes begin there."""

_TRANSVERSE_ROOT, _SUPERIOR_ROOT, _INFERIOR_ROOT = 0.25, 0.35, 0.25
"""Where the axis of a process begins, as share of the way from the end of the pedicle to its tip;
of the inferior articular process, from the pars interarticularis. In the neck, both articular
processes begin in the middle of their pillar."""

_SPINOUS_HALF_MM, _SPINOUS_WIDEST_MM = 3.0, 12.0
"""Half the thickness of the spinous process, and largest distance from the midline."""

_BAR, _BAR_ROW = 0.3, 2
"""Y of the anterior bar of a cervical transverse process, as share of that of the posterior wall,
and the row of the transverse process in `_AXES`."""

_AXES: tuple[tuple[Part, Part], ...] = (PEDICLES, LAMINAE, TRANSVERSE, SUPERIOR, INFERIOR)


def divide(points_mm: np.ndarray, marks: Landmarks, without: Sequence[Part] = ()) -> np.ndarray:
    """Return the part of each voxel of a vertebra, (n,) uint8.

    Args:
        points_mm: Voxels in the frame of the body, (n, 3).
        marks: Landmarks of the vertebra.
        without: Parts that the vertebra does not have; their voxels belong to the nearest other.
    """
    out = np.zeros(len(points_mm), np.uint8)
    for index, sign in enumerate((1, -1)):
        here = points_mm[:, 0] >= 0 if sign == 1 else points_mm[:, 0] < 0
        mirrored = points_mm[here] * (sign, 1, 1)
        side = marks.sides[sign]
        distances = _distances(mirrored, marks, side)
        pairs = [pair[index] for pair in _AXES]
        distances[[part in without for part in pairs]] = np.inf
        values = np.array([part.value for part in pairs], np.uint8)
        out[here] = _divide_side(mirrored, marks, side, distances, values)
    return out


def is_body(
    places_mm: np.ndarray, wall_mm: float, half_width_mm: float, *, is_neck: bool
) -> np.ndarray:
    """Return which voxels belong to the body, (n,) bool.

    Args:
        places_mm: Voxels in the frame of the body, (n, 3).
        wall_mm: Y of its posterior wall.
        half_width_mm: Half its width.
        is_neck: As in `Landmarks`.
    """
    beside_mm = _BESIDE_NECK_MM if is_neck else _BESIDE_MM
    ahead = places_mm[:, 1] < wall_mm
    return ahead & (np.abs(places_mm[:, 0]) < half_width_mm + beside_mm)


def _divide_side(
    places: np.ndarray,
    marks: Landmarks,
    side: ArchSide,
    distances: np.ndarray,
    values: np.ndarray,
) -> np.ndarray:
    """Return the parts of one side.

    Args:
        places: Voxels mirrored to the left, (n, 3).
        marks: Landmarks of the vertebra.
        side: Those of the side.
        distances: Distance of each voxel to each axis of `_AXES`, (5, n).
        values: Values of the parts of `_AXES`.
    """
    parts = values[distances.argmin(axis=0)]
    lower_mm = (marks.lamina.height_mm + side.inferior_mm[2]) / 2
    aside = np.maximum(places[:, 0] - _SPINOUS_HALF_MM, 0)
    spinous = places[:, 1] > marks.lamina.back_mm(places[:, 2])
    spinous &= (places[:, 0] < _SPINOUS_WIDEST_MM) & (aside < distances[3:].min(axis=0))
    # Below the laminae, a steep process reaches farther to the front.
    below = (places[:, 2] < lower_mm) & (places[:, 1] > marks.canal_middle_mm)
    spinous |= below & (aside == 0)
    parts[spinous] = SPINOUS.value
    body = is_body(places, marks.wall_mm, marks.half_width_mm, is_neck=marks.is_neck)
    parts[body] = BODY.value
    return parts


def _distances(places: np.ndarray, marks: Landmarks, side: ArchSide) -> np.ndarray:
    """Return the distance of each place to each axis of `_AXES`, (5, n)."""
    end, pars = side.end_mm, side.pars_mm
    above, below = (0.0, 0.0) if marks.is_neck else (_SUPERIOR_ROOT, _INFERIOR_ROOT)
    transverse = side.transverse_mm

    def root(start: np.ndarray, tip: np.ndarray, share: float) -> np.ndarray:
        return start + share * (tip - start)

    ends = (
        (side.front_mm(marks.wall_mm), end),
        (end, marks.lamina.middle_mm),
        (root(end, transverse, _TRANSVERSE_ROOT), transverse),
        (root(pars if marks.is_neck else end, side.superior_mm, above), side.superior_mm),
        (root(pars, side.inferior_mm, below), side.inferior_mm),
    )
    distances = np.stack([_to_segment(places, *pair) for pair in ends])
    if marks.is_neck:
        # The bar in front of the transverse foramen.
        bar = np.array([marks.half_width_mm + _BESIDE_NECK_MM, _BAR * marks.wall_mm, transverse[2]])
        distances[_BAR_ROW] = np.minimum(distances[_BAR_ROW], _to_segment(places, bar, transverse))
    return distances


def _to_segment(places: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Return the distances of places to a line segment, (n,)."""
    along = stop - start
    share = np.clip((places - start) @ along / max(along @ along, 1e-9), 0, 1)
    return np.linalg.norm(places - start - share[:, None] * along, axis=1)
