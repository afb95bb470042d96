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

_WALL_MM = 1.0
"""The wall is concave: beside the midline the body reaches this much farther back."""

_BESIDE_MM = 5.0
"""Largest distance of the body's osteophytes beside its usual width."""

_TRANSVERSE_ROOT, _SUPERIOR_ROOT, _INFERIOR_ROOT = 0.25, 0.35, 0.25
"""Where the axis of a process begins, as share of the way from the end of the pedicle to its tip;
of the inferior articular process, from the pars interarticularis."""

_SPINOUS_HALF_MM, _SPINOUS_WIDEST_MM = 3.0, 12.0
"""Half the thickness of the spinous process, and largest distance from the midline."""

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
        distances = _distances(mirrored, marks, marks.sides[sign])
        pairs = [pair[index] for pair in _AXES]
        distances[[part in without for part in pairs]] = np.inf
        values = np.array([part.value for part in pairs], np.uint8)
        out[here] = _divide_side(mirrored, marks, distances, values)
    return out


def is_body(places_mm: np.ndarray, wall_mm: float, half_width_mm: float) -> np.ndarray:
    """Return which voxels belong to the body, (n,) bool.

    Args:
        places_mm: Voxels in the frame of the body, (n, 3).
        wall_mm: Y of its posterior wall.
        half_width_mm: Half its width.
    """
    ahead = places_mm[:, 1] < wall_mm + _WALL_MM
    return ahead & (np.abs(places_mm[:, 0]) < half_width_mm + _BESIDE_MM)


def _divide_side(
    places: np.ndarray, marks: Landmarks, distances: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Return the parts of one side.

    Args:
        places: Voxels mirrored to the left, (n, 3).
        marks: Landmarks of the vertebra.
        distances: Distance of each voxel to each axis of `_AXES`, (5, n).
        values: Values of the parts of `_AXES`.
    """
    parts = values[distances.argmin(axis=0)]
    aside = np.maximum(places[:, 0] - _SPINOUS_HALF_MM, 0)
    spinous = places[:, 1] > marks.lamina.back_mm(places[:, 2])
    spinous &= places[:, 0] < _SPINOUS_WIDEST_MM
    spinous &= aside < distances[3:].min(axis=0)
    parts[spinous] = SPINOUS.value
    parts[is_body(places, marks.wall_mm, marks.half_width_mm)] = BODY.value
    return parts


def _distances(places: np.ndarray, marks: Landmarks, side: ArchSide) -> np.ndarray:
    """Return the distance of each place to each axis of `_AXES`, (5, n)."""
    end = side.end_mm

    def root(start: np.ndarray, tip: np.ndarray, share: float) -> np.ndarray:
        return start + share * (tip - start)

    ends = (
        (side.front_mm(marks.wall_mm), end),
        (end, marks.lamina.middle_mm),
        (root(end, side.transverse_mm, _TRANSVERSE_ROOT), side.transverse_mm),
        (root(end, side.superior_mm, _SUPERIOR_ROOT), side.superior_mm),
        (root(side.pars_mm, side.inferior_mm, _INFERIOR_ROOT), side.inferior_mm),
    )
    return np.stack([_to_segment(places, *pair) for pair in ends])


def _to_segment(places: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Return the distances of places to a line segment, (n,)."""
    along = stop - start
    share = np.clip((places - start) @ along / max(along @ along, 1e-9), 0, 1)
    return np.linalg.norm(places - start - share[:, None] * along, axis=1)
