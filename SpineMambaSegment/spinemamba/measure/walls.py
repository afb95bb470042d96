"""The back wall of a body and the canal behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.measure.body import Body
from spinemamba.measure.frame import Patch
from spinemamba.measure.plane_fit import fit_level, fit_plane

BAND = 0.45
"""Share of the half width beside the midline where no pedicle hides the back wall."""

CORNER = (0.1, 0.95)
"""From where to where, in shares of the half height, the wall counts as near an endplate."""

STRAY_MM = 0.7
"""A back wall near an endplate usually lies so near to the plane of the whole wall. Endplates are
hollow and have no such bound: it would make coarse ones flat."""

BEHIND_MM = 5.0
CANAL_MM = 35.0
ACROSS_MM = (3.0, 4.5, 6.0, 7.5, 9.0, 10.5)
"""How far behind the back wall the canal's width is looked for."""

LEAST_CLOSED_MM = 2.0
WALL = 0.8
"""Share of the half height and half depth within which the wall is looked for."""

NARROW_PERCENT = 10
"""The least, but not that of a single ray."""


@dataclass(frozen=True)
class Canal:
    """Depth and width in mm; None where the label does not show it."""

    depth_mm: float | None
    width_mm: float | None


def back_corner(patch: Patch, body: Body, sign: int) -> np.ndarray:
    """Return where the back wall meets the upper (1) or lower (-1) endplate on the midline, LPS.

    Raises:
        ValueError: If the back wall is not clear.
    """
    extent = body.extent
    reach = (BAND * extent.half_width_mm, extent.half_depth_mm + BEHIND_MM, extent.half_height_mm)
    places, inside = patch.near(body.frame, reach)
    behind = places[:, 1] > 0
    # Seen with the back on top: to the left, up, and then how far behind.
    places, inside = places[behind][:, (0, 2, 1)], inside[behind]
    voxel_mm = patch.step_mm(body.frame.posterior)
    wall = fit_plane(places, inside, voxel_mm)
    up = sign * places[:, 1] / extent.half_height_mm
    near = (up >= CORNER[0]) & (up <= CORNER[1])
    above = places[:, 2] - wall.height_mm(places[:, 0], places[:, 1])
    level = wall.level_mm + fit_level(above[near], inside[near], voxel_mm, STRAY_MM)
    height = float(body.plates[sign].plane.level_mm)
    for _ in range(5):
        y = level + wall.slope[1] * height
        height = float(body.plates[sign].plane.height_mm(0.0, y))
    return body.frame.to_lps(np.array([0.0, level + wall.slope[1] * height, height]))


def canal(patch: Patch, body: Body) -> Canal:
    """Return the size of the canal behind a body, at the heights of the vertebra's own arch."""
    extent = body.extent
    heights = WALL * np.arange(-extent.half_height_mm, extent.half_height_mm + 0.5, 0.5)
    back = body.frame.posterior
    starts = np.array([(x, 0.0, z) for z in heights for x in (-1.5, 0.0, 1.5)])
    walls = patch.exits_mm(body.frame.to_lps(starts), back, 2 * extent.half_depth_mm)
    # An end far ahead of the wall is the hollow of an endplate.
    begun = walls > WALL * extent.half_depth_mm
    starts = starts[begun] + np.outer(walls[begun] + 1.0, (0, 1, 0))
    depths = patch.entries_mm(body.frame.to_lps(starts), back, CANAL_MM) + 1.0
    middles = starts[starts[:, 0] == 0]
    behind = [np.array([0.0, y - 1.0, 0.0]) for y in ACROSS_MM]
    chords = np.array([_chords(patch, body, middles + step) for step in behind])
    # Only the first chord tells pedicles from laminae, but a round canal is wider farther back.
    widths = np.nanmax(chords[:, ~np.isnan(chords[0])], axis=0, initial=0.0)
    return Canal(_least(depths, 3), _least(widths, 1))


def _chords(patch: Patch, body: Body, places_mm: np.ndarray) -> np.ndarray:
    """Return the way from bone to bone through each place, to the left and right; or NaN."""
    left = body.frame.axes_lps[0]
    starts = body.frame.to_lps(places_mm)
    return sum(patch.entries_mm(starts, sign * left, CANAL_MM / 2) for sign in (1, -1))


def _least(sizes: np.ndarray, rays: int) -> float | None:
    """Return the least of sizes, so many for every half millimetre; None if there are too few."""
    sizes = sizes[~np.isnan(sizes)]
    if sizes.size / rays * 0.5 < LEAST_CLOSED_MM:
        return None
    return float(np.percentile(sizes, NARROW_PERCENT))
