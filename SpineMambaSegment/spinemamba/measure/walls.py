"""Posterior wall of a vertebral body, and the spinal canal behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.measure.body import Body
from spinemamba.measure.frame import Patch
from spinemamba.measure.plane_fit import fit_level, fit_plane

BAND = 0.45
"""Share of the half width beside the midline where no pedicle covers the posterior wall."""

_CORNER = (0.1, 0.95)
"""Range of the wall near an endplate, in half heights."""

_STRAY_MM = 0.7
"""Prior standard deviation of the posterior wall near an endplate from the plane of the whole wall.
Endplates are concave and have no such prior: it would flatten them at coarse voxels."""

_BEHIND_MM = 5.0
_CANAL_MM = 35.0
_ACROSS_MM = (3.0, 4.5, 6.0, 7.5, 9.0, 10.5)
"""Distances behind the posterior wall at which the width of the canal is measured."""

_LEAST_CLOSED_MM = 2.0
_WALL = 0.8
"""Share of the half height and half depth within which the wall is searched."""

_NARROW_PERCENT = 10
"""Percentile that stands for the minimum, robust to single rays."""


@dataclass(frozen=True)
class _Canal:
    """Depth and width in mm; None if the label does not enclose the canal."""

    depth_mm: float | None
    width_mm: float | None


def back_corner(patch: Patch, body: Body, sign: int) -> np.ndarray:
    """Return the posterior corner at the upper (1) or lower (-1) endplate on the midline, in LPS.

    Raises:
        ValueError: If the posterior wall is not clear in the label.
    """
    extent = body.extent
    half_size_mm = (
        BAND * extent.half_width_mm,
        extent.half_depth_mm + _BEHIND_MM,
        extent.half_height_mm,
    )
    places, inside = patch.near(body.frame, half_size_mm)
    behind = places[:, 1] > 0
    # Coordinates for the fit: left, superior, and posterior as height.
    places, inside = places[behind][:, (0, 2, 1)], inside[behind]
    voxel_mm = patch.step_mm(body.frame.posterior)
    wall = fit_plane(places, inside, voxel_mm)
    up = sign * places[:, 1] / extent.half_height_mm
    near = (up >= _CORNER[0]) & (up <= _CORNER[1])
    above = places[:, 2] - wall.height_mm(places[:, 0], places[:, 1])
    level = wall.level_mm + fit_level(above[near], inside[near], voxel_mm, _STRAY_MM)
    height = float(body.plates[sign].plane.level_mm)
    for _ in range(5):
        y = level + wall.slope[1] * height
        height = float(body.plates[sign].plane.height_mm(0.0, y))
    return body.frame.to_lps(np.array([0.0, level + wall.slope[1] * height, height]))


def canal(patch: Patch, body: Body) -> _Canal:
    """Return the size of the spinal canal at the heights of the vertebral arch."""
    extent = body.extent
    heights = _WALL * np.arange(-extent.half_height_mm, extent.half_height_mm + 0.5, 0.5)
    back = body.frame.posterior
    starts = np.array([(x, 0.0, z) for z in heights for x in (-1.5, 0.0, 1.5)])
    walls = patch.exits_mm(body.frame.to_lps(starts), back, 2 * extent.half_depth_mm)
    # A ray that ends far in front of the wall has hit the concavity of an endplate.
    begun = walls > _WALL * extent.half_depth_mm
    starts = starts[begun] + np.outer(walls[begun] + 1.0, (0, 1, 0))
    depths = patch.entries_mm(body.frame.to_lps(starts), back, _CANAL_MM) + 1.0
    middles = starts[starts[:, 0] == 0]
    behind = [np.array([0.0, y - 1.0, 0.0]) for y in _ACROSS_MM]
    chords = np.array([_chords(patch, body, middles + step) for step in behind])
    # Only the first chord distinguishes pedicles from laminae; a round canal is wider behind it.
    widths = np.nanmax(chords[:, ~np.isnan(chords[0])], axis=0, initial=0.0)
    return _Canal(_least(depths, 3), _least(widths, 1))


def _chords(patch: Patch, body: Body, places_mm: np.ndarray) -> np.ndarray:
    """Return the length of the left-right chord between bone through each point; NaN if open."""
    left = body.frame.axes_lps[0]
    starts = body.frame.to_lps(places_mm)
    return sum(patch.entries_mm(starts, sign * left, _CANAL_MM / 2) for sign in (1, -1))


def _least(sizes: np.ndarray, rays: int) -> float | None:
    """Return the robust minimum of sizes; None if they cover less than `_LEAST_CLOSED_MM`.

    Args:
        sizes: Sizes of all rays; NaN if open.
        rays: Number of rays for every half millimetre of height.
    """
    sizes = sizes[~np.isnan(sizes)]
    if sizes.size / rays * 0.5 < _LEAST_CLOSED_MM:
        return None
    return float(np.percentile(sizes, _NARROW_PERCENT))
