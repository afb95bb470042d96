"""A starting point for a drill guide: a patch on the posterior surface with two sleeves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.vtk_surface import contour_of
from spinemamba.imaging.masks import pieces_of
from spinemamba.parts.bone_field import STEP_MM, BoneField, smooth_distance
from spinemamba.parts.sections import Line

_FRONT_MM = 8.0
"""Length of a sleeve in front of its entry, before the bone is cut off: surfaces are oblique."""

_KNOWN_MM = -2.0
"""Depth down to which the field of the vertebra is used around it."""

_LEAST_MM = 0.02
"""Smallest distance of a node from the surface: on it, triangles would have no area."""


@dataclass(frozen=True)
class GuideOptions:
    """Sizes of a guide in mm.

    Attributes:
        gap_mm: Between bone and patch.
        thickness_mm: Of the patch.
        reach_mm: Of the patch around the way between the entries.
        bore_mm: Diameter of the hole of a sleeve.
        wall_mm: Of a sleeve.
        height_mm: Of a sleeve above the entry.
    """

    gap_mm: float = 0.3
    thickness_mm: float = 3.0
    reach_mm: float = 9.0
    bore_mm: float = 3.0
    wall_mm: float = 2.5
    height_mm: float = 18.0


def drill_guide(
    field: BoneField, lines: tuple[Line, ...], entries_mm: tuple[float, ...], options: GuideOptions
) -> Mesh:
    """Return a guide as one closed surface in LPS (of the standing spine).

    The guide is a solid of signed distances: the shell of the bone between two offsets, as far as
    it can be reached from behind, and sleeves, less the bores and the bone with its gap. The
    contour of such a field is closed.

    Args:
        field: The vertebra.
        lines: Axis of each sleeve, directed to the front.
        entries_mm: Position of the entry on each line.
        options: Sizes.

    Raises:
        ValueError: If patch and sleeves are not one piece.
    """
    starts = np.array([line.at(place) for line, place in zip(lines, entries_mm, strict=True)])
    first, depth = _grown(field, starts, options)
    points = _nodes(first, depth.shape)
    offset = -depth - options.gap_mm  # distance to the bone with its gap
    solid = np.maximum(-offset, offset - options.thickness_mm)
    solid = np.maximum(solid, _distance_to_way(points, starts) - options.reach_mm)
    solid = np.maximum(solid, _hidden(offset))
    for line, place in zip(lines, entries_mm, strict=True):
        ends = (place - options.height_mm, place + _FRONT_MM)
        solid = np.minimum(solid, _rod(points, line, ends, _outer(options)))
    solid = np.maximum(solid, -offset)
    for line, place in zip(lines, entries_mm, strict=True):
        ends = (place - 2 * options.height_mm, place + 2 * _FRONT_MM)
        solid = np.maximum(solid, -_rod(points, line, ends, options.bore_mm / 2))
    walls = [
        _wall_point(line, place, options) for line, place in zip(lines, entries_mm, strict=True)
    ]
    solid = _one_piece(solid, walls, first)
    solid = np.where(np.abs(solid) < _LEAST_MM, _LEAST_MM, solid)
    local = contour_of(solid.astype(np.float32))
    placed = field.frame.to_lps(first + STEP_MM * local.points_mm)
    return local.moved_to(placed).facing_outwards()


def _outer(options: GuideOptions) -> float:
    return options.bore_mm / 2 + options.wall_mm


def _grown(
    field: BoneField, starts: np.ndarray, options: GuideOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Return the field around the guide: local position of its first node, and depths."""
    side = options.reach_mm + options.thickness_mm + 2 * _outer(options)
    back = options.height_mm + options.thickness_mm + _outer(options)
    tall = side + options.height_mm / 2
    low = starts.min(axis=0) - np.array([side, _FRONT_MM, tall])
    high = starts.max(axis=0) + np.array([side, back, tall])
    # The patch climbs over the spinous process, which may reach farther back than the sleeves.
    high[1] = max(high[1], field.axes_mm()[1][-1])
    counts = np.ceil((high - low) / STEP_MM).astype(int)[::-1] + 1
    index = (np.indices(counts).reshape(3, -1).T * STEP_MM + low[::-1])[:, ::-1]
    depth = field.at(index).reshape(counts)
    wider = smooth_distance(depth > 0)
    # The field knows edges better, but ends a little beyond the bone.
    return low, np.where(wider > _KNOWN_MM, np.maximum(wider, depth), wider)


def _nodes(first: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the local positions of all nodes, (z, y, x, 3), float32."""
    axes = [low + STEP_MM * np.arange(n) for low, n in zip(first, shape[::-1], strict=True)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    return np.stack([x, y, z], axis=-1).astype(np.float32)


def _distance_to_way(points: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the distance, seen from behind, to the straight way between the first and the last."""
    flat, ends = points[..., [0, 2]], starts[:, [0, 2]]
    along = ends[-1] - ends[0]
    offset = flat - ends[0]
    share = np.clip(offset @ along / max(float(along @ along), 1e-9), 0, 1)
    return np.linalg.norm(offset - share[..., None] * along, axis=-1)


def _hidden(offset: np.ndarray) -> np.ndarray:
    """Return a field that is positive where bone lies farther back than a node."""
    behind = np.maximum.accumulate(-offset[:, ::-1], axis=1)[:, ::-1]
    return np.concatenate([behind[:, 1:], np.full_like(behind[:, :1], -1e3)], axis=1)


def _rod(points: np.ndarray, line: Line, ends: tuple[float, float], radius: float) -> np.ndarray:
    """Return the distance to a cylinder, negative inside."""
    offset = points - line.point_mm.astype(np.float32)
    along = offset @ line.forward.astype(np.float32)
    square = (offset**2).sum(axis=-1) - along**2
    across = np.sqrt(np.maximum(square, 0)) - radius
    return np.maximum(across, np.maximum(ends[0] - along, along - ends[1]))


def _one_piece(solid: np.ndarray, walls: list[np.ndarray], first: np.ndarray) -> np.ndarray:
    """Return the solid without loose pieces.

    Raises:
        ValueError: If the sleeves are not in one piece.
    """
    pieces, _ = pieces_of(solid < 0)
    numbers = {int(pieces[tuple(np.rint((p - first) / STEP_MM).astype(int)[::-1])]) for p in walls}
    if len(numbers) != 1 or 0 in numbers:
        raise ValueError("patch and sleeves are not one piece")
    return np.where((pieces > 0) & (pieces != numbers.pop()), STEP_MM, solid)


def _wall_point(line: Line, entry_mm: float, options: GuideOptions) -> np.ndarray:
    """Return a point in the wall of a sleeve, half way up."""
    radius = (options.bore_mm + options.wall_mm) / 2
    return line.at(entry_mm - options.height_mm / 2) + radius * line.across()[1]
