"""Landmarks of a vertebral arch: canal, lamina, pedicles, and tips of the processes.

All positions are in the frame of the vertebral body, in mm along left, posterior and superior.
Landmarks of a side are mirrored to the left, so that x is positive on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from spinemamba.measure.body import Body
from spinemamba.measure.frame import Patch
from spinemamba.measure.vertebra import Vertebra
from spinemamba.parts.bone_field import BoneField
from spinemamba.parts.pedicle_search import NOT_FOUND, rough_pedicle, shown_pedicle
from spinemamba.parts.sections import Tube

_ABOVE_MM, _BELOW_MM, _STEP_MM = 6.0, 14.0, 0.5
"""Range of the rays through the canal, beyond the endplates, and their distance."""

_FARTHEST_MM = 30.0
_SHALLOWEST_MM = 6.0
"""Smallest depth of a canal; shorter rays end at a spur or in a foramen."""

_FRONT_PERCENT, _FRONT_MM = 10.0, 3.0
"""The lamina is where the canal is at most this much deeper than at its shallowest."""

_LEAN_MM = (12.0, 10.0)
"""Height and depth, from the shallowest part, of the rays that give the inclination of a lamina."""

_BESIDE_MM = (-5.0, -4.0, 4.0, 5.0)
"""Distances from the midline at which the height of the laminae is measured."""

_MOST_LEAN = 0.7
_LEAST_RAYS = 4

_LAMINA_X_MM = (5.0, 6.0, 7.0)
"""Distances from the midline at which the thickness of a lamina is measured."""

_USUAL_LAMINA_MM = 6.0
_THICKEST_MM = 12.0

_TIP_SHARE, _TIP_LEAST = 0.02, 6
"""Share and least number of the voxels of a side whose mean is a tip."""

_WALL_X, _WALL_Z = (0.35, 0.45, 0.55), (-0.6, -0.4, -0.2)
"""Where the posterior wall is measured, in half widths and half heights: below the pedicles."""

_BEHIND_MM = 2.0
"""Distance behind the posterior wall from which voxels belong to the arch."""

_SPINOUS_MM = 4.0
"""Half width of the spinous process, within which no inferior tip is searched."""

NECK = ("C2", "C3", "C4", "C5", "C6")

_NECK_MM = 3.0
"""In the neck: distance behind the posterior wall up to which the tip of a transverse process is
searched."""

_PILLAR = 0.7
"""Least X of the inferior articular processes of the neck, as share of that of the pedicle."""

_PARS_MM = 3.0
_OPPOSITE = (0.8, 1.15)
"""A tip beyond the edge of the image is estimated from the opposite one: its x, and its
distance from the height of the laminae, as shares of the other's."""


@dataclass(frozen=True)
class Lamina:
    """The laminae at the midline.

    Attributes:
        height_mm: Z of their middle.
        front_mm: Y of their anterior surface there, the back of the canal.
        lean: How much farther posterior the surface lies per mm of height; negative in most.
        thickness_mm: Thickness along y.
    """

    height_mm: float
    front_mm: float
    lean: float
    thickness_mm: float

    @property
    def middle_mm(self) -> np.ndarray:
        """Point at the midline halfway through the laminae, (3,)."""
        return np.array([0.0, self.front_mm + self.thickness_mm / 2, self.height_mm])

    def back_mm(self, z_mm: np.ndarray) -> np.ndarray:
        """Return Y of the posterior surface at heights."""
        return self.front_mm + self.lean * (z_mm - self.height_mm) + self.thickness_mm


@dataclass(frozen=True)
class PedicleAxis:
    """Isthmus and axis of a pedicle, mirrored to the left.

    Attributes:
        isthmus_mm: Middle of the isthmus, (3,).
        forward: Unit vector along the axis, to the front, (3,).
        half_height_mm: Half the height of the isthmus.
        area_mm2: Area of the isthmus across the axis.
        reason: Why a plan does not report it; empty if it does.
    """

    isthmus_mm: np.ndarray
    forward: np.ndarray
    half_height_mm: float
    area_mm2: float
    reason: str = ""

    @classmethod
    def of(cls, tube: Tube, sign: int, reason: str = "") -> PedicleAxis:
        """Return the axis of a found pedicle on the left (1) or right (-1)."""
        mirror = np.array([sign, 1, 1])
        line = tube.line
        return cls(
            mirror * line.point_mm, mirror * line.forward, tube.height_mm / 2, tube.area_mm2, reason
        )

    def at_depth(self, y_mm: float) -> np.ndarray:
        """Return the point of the axis at a Y, (3,)."""
        return self.isthmus_mm + (y_mm - self.isthmus_mm[1]) / self.forward[1] * self.forward


@dataclass(frozen=True)
class ArchSide:
    """Landmarks of one side of an arch, mirrored to the left.

    Attributes:
        pedicle: Isthmus and axis of the pedicle.
        end_mm: Where the pedicle ends and the lamina and the processes begin, (3,).
        pars_mm: Middle between the articular processes, in the bone, (3,).
        transverse_mm: Tip of the transverse process, (3,).
        superior_mm: Tip of the superior articular process, (3,).
        inferior_mm: Tip of the inferior articular process, (3,).
    """

    pedicle: PedicleAxis
    end_mm: np.ndarray
    pars_mm: np.ndarray
    transverse_mm: np.ndarray
    superior_mm: np.ndarray
    inferior_mm: np.ndarray

    def front_mm(self, wall_mm: float) -> np.ndarray:
        """Return where the pedicle begins, at the Y of the posterior wall, (3,)."""
        return self.pedicle.at_depth(wall_mm)


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of a vertebra.

    Attributes:
        wall_mm: Y of the posterior wall of the body.
        half_width_mm: Half the width of the body.
        half_height_mm: Half the height of the body.
        lamina: The laminae at the midline.
        sides: By sign of x: 1 is left, -1 right.
        is_neck: Whether the transverse processes lie beside the body, in front of the articular
            pillars, as in the neck.
    """

    wall_mm: float
    half_width_mm: float
    half_height_mm: float
    lamina: Lamina
    sides: Mapping[int, ArchSide]
    is_neck: bool = False

    @property
    def canal_middle_mm(self) -> float:
        """Y of the middle of the canal."""
        return (self.wall_mm + self.lamina.front_mm) / 2


def find_landmarks(vertebra: Vertebra, field: BoneField, points_mm: np.ndarray) -> Landmarks:
    """Return the landmarks of a vertebra with a body.

    Args:
        vertebra: The vertebra.
        field: The vertebra, in the frame of its body.
        points_mm: Centres of its voxels in the frame of the body, (n, 3).

    Raises:
        ValueError: If the arch does not enclose a canal, or has no pedicle; the message is the
            reason.
    """
    body = vertebra.body
    extent = body.extent
    lamina = _lamina(vertebra.patch, body)
    marks = Landmarks(
        wall_mm(vertebra.patch, body),
        extent.half_width_mm,
        extent.half_height_mm,
        lamina,
        {},
        vertebra.name in NECK,
    )
    axes = {sign: _pedicle_axis(vertebra, field, sign) for sign in (1, -1)}
    found = {sign: axis for sign, axis in axes.items() if axis is not None}
    if not found:
        raise ValueError("its label has no pedicle")
    sides = {}
    for sign in (1, -1):
        # A side without a pedicle, as after surgery or at the edge of the image, is like the other.
        axis = found.get(sign) or replace(found[-sign], reason=NOT_FOUND)
        sides[sign] = _side(_mirrored(points_mm, sign), marks, axis, vertebra.cut_sides)
    whole = {sign: side for sign, side in sides.items() if side is not None}
    if not whole:
        raise ValueError("its label has no pedicle")
    return replace(marks, sides={sign: whole.get(sign, whole.get(-sign)) for sign in (1, -1)})


def _pedicle_axis(vertebra: Vertebra, field: BoneField, sign: int) -> PedicleAxis | None:
    """Return the pedicle of one side; None without one.

    One that a plan would not report has the usual direction, through its smallest section.
    """
    try:
        return PedicleAxis.of(shown_pedicle(field, vertebra, sign), sign)
    except ValueError as error:
        reason = str(error)
    try:
        return PedicleAxis.of(
            rough_pedicle(field, vertebra.body, sign, vertebra.name), sign, reason
        )
    except ValueError:
        return None


def wall_mm(patch: Patch, body: Body) -> float:
    """Return Y of the posterior wall of a body, beside the hollow on its midline."""
    width, height = body.extent.half_width_mm, body.extent.half_height_mm
    places = [(s * x * width, 0.0, z * height) for s in (1, -1) for x in _WALL_X for z in _WALL_Z]
    frame = body.frame
    reach = 2 * body.extent.half_depth_mm
    exits = patch.exits_mm(frame.to_lps(np.array(places)), frame.posterior, reach)
    known = exits[np.isfinite(exits)]
    beside = float(np.median(known)) if len(known) else 0.0
    return max(beside, body.extent.half_depth_mm)


def _mirrored(points_mm: np.ndarray, sign: int) -> np.ndarray:
    """Return the points of one side, mirrored to the left."""
    return points_mm[sign * points_mm[:, 0] >= 0] * (sign, 1, 1)


def _lamina(patch: Patch, body: Body) -> Lamina:
    """Return the laminae at the midline.

    Raises:
        ValueError: If the arch is open there.
    """
    start = body.extent.half_depth_mm + 1.5
    half = body.extent.half_height_mm
    heights = np.arange(-half - _BELOW_MM, half + _ABOVE_MM, _STEP_MM)
    places = np.array([(x, start, z) for z in heights for x in (-1.5, 0.0, 1.5)])
    rays = _entries(patch, body, places).reshape(-1, 3)
    closed = (np.isfinite(rays).sum(axis=1) >= 2) & (np.nan_to_num(rays).max(axis=1) > 0)
    depth = np.full(len(heights), np.nan)
    depth[closed] = np.nanmedian(rays[closed], axis=1) + start
    known = closed & (depth > body.extent.half_depth_mm + _SHALLOWEST_MM)
    if np.count_nonzero(known) < _LEAST_RAYS:
        raise ValueError("its arch does not close on the midline")
    z, back = heights[known], depth[known]
    front = np.percentile(back, _FRONT_PERCENT)
    near = back <= front + _FRONT_MM
    height = _height_mm(patch, body, front)
    around = (np.abs(z - height) < _LEAN_MM[0]) & (back <= front + _LEAN_MM[1])
    lean = 0.0
    if np.count_nonzero(around) > _LEAST_RAYS:
        lean = float(np.clip(np.polyfit(z[around], back[around], 1)[0], -_MOST_LEAN, 0.0))
    level = float(np.median(back[near] - lean * (z[near] - height)))
    middle = (body.extent.half_depth_mm + level) / 2
    return Lamina(height, level, lean, _thickness_mm(patch, body, middle, height))


def _height_mm(patch: Patch, body: Body, front_mm: float) -> float:
    """Return Z of the middle of the laminae beside the spinous process.

    Args:
        patch: Label image around the vertebra.
        body: The body.
        front_mm: Y of the back of the canal where it is shallowest.
    """
    start, half = body.extent.half_depth_mm + 1.5, body.extent.half_height_mm
    heights = np.arange(-half - _BELOW_MM, half + _ABOVE_MM, _STEP_MM)
    means = []
    for x in _BESIDE_MM:
        places = np.array([(x, start, z) for z in heights])
        back = _entries(patch, body, places) + start
        near = (back <= front_mm + _FRONT_MM) & (back > body.extent.half_depth_mm + _SHALLOWEST_MM)
        if near.any():
            means.append(float(heights[near].mean()))
    return float(np.mean(means)) if means else 0.0


def _thickness_mm(patch: Patch, body: Body, start_y: float, height: float) -> float:
    """Return the thickness of the laminae along y, beside the midline."""
    heights = height + np.arange(-4.0, 4.5)
    places = [(s * x, start_y, z) for x in _LAMINA_X_MM for s in (1, -1) for z in heights]
    starts = np.array(places)
    ahead = _entries(patch, body, starts) + 1.0
    starts = starts[np.isfinite(ahead)] + np.outer(ahead[np.isfinite(ahead)], (0, 1, 0))
    frame = body.frame
    through = patch.exits_mm(frame.to_lps(starts), frame.posterior, 20.0) + 1.0
    through = through[np.isfinite(through)]
    usual = float(np.median(through)) if len(through) else _USUAL_LAMINA_MM
    return min(usual, _THICKEST_MM)


def _entries(patch: Patch, body: Body, places_mm: np.ndarray) -> np.ndarray:
    """Return the distance from places in the canal to bone behind them; NaN if there is none."""
    starts = body.frame.to_lps(places_mm)
    distances = patch.entries_mm(starts, body.frame.posterior, _FARTHEST_MM)
    return np.where(patch.share(starts) > 0.5, np.nan, distances)


def _side(
    points_mm: np.ndarray, marks: Landmarks, pedicle: PedicleAxis, cut: tuple[str, ...]
) -> ArchSide | None:
    """Return the landmarks of one side; None without an arch.

    Args:
        points_mm: Voxels of the side, mirrored to the left, (n, 3).
        marks: Landmarks on the midline.
        pedicle: Its pedicle.
        cut: Sides at which the image truncates the vertebra.
    """
    end = pedicle.at_depth(marks.canal_middle_mm)
    arch = points_mm[points_mm[:, 1] > marks.wall_mm + _BEHIND_MM]
    lateral = arch[arch[:, 0] > 0.3 * pedicle.isthmus_mm[0]]
    if not len(lateral):
        return None
    beside = _beside(points_mm, marks, pedicle.isthmus_mm[2])
    lower = (arch[:, 0] > _SPINOUS_MM) & (arch[:, 1] < marks.lamina.back_mm(arch[:, 2]) + 4.0)
    if marks.is_neck:
        # The lower edge of a cervical lamina may lie below the articular processes.
        lower &= (arch[:, 0] > _PILLAR * end[0]) & (arch[:, 1] < marks.lamina.front_mm)
    lower = arch[lower] if lower.any() else lateral
    superior = _tip(lateral, lateral[:, 2])
    inferior = _tip(lower, -lower[:, 2])
    if "inferior" in cut:
        inferior = _opposite(superior, marks.lamina.height_mm)
    elif "superior" in cut:
        superior = _opposite(inferior, marks.lamina.height_mm)
    return ArchSide(
        pedicle,
        end,
        _pars(arch, superior, inferior, marks.lamina.height_mm),
        _tip(beside, beside[:, 0]),
        superior,
        inferior,
    )


def _beside(points_mm: np.ndarray, marks: Landmarks, pedicle_z_mm: float) -> np.ndarray:
    """Return the voxels of a side among which the tip of the transverse process is."""
    x, y, z = points_mm.T
    reach = (y > 0) & (x > 0)
    if marks.is_neck:
        # Behind and above lie the articular pillars, which may be as wide.
        reach = (y < marks.wall_mm + _NECK_MM) & (z < pedicle_z_mm)
    return points_mm[reach] if reach.any() else points_mm


def _tip(points_mm: np.ndarray, along_mm: np.ndarray) -> np.ndarray:
    """Return the mean of the points that reach farthest."""
    count = min(len(points_mm), max(_TIP_LEAST, int(_TIP_SHARE * len(points_mm))))
    return points_mm[np.argsort(-along_mm)[:count]].mean(axis=0)


def _opposite(tip_mm: np.ndarray, height_mm: float) -> np.ndarray:
    """Return an estimate of the tip of one articular process from that of the other."""
    return np.array(
        [_OPPOSITE[0] * tip_mm[0], tip_mm[1], height_mm - _OPPOSITE[1] * (tip_mm[2] - height_mm)]
    )


def _pars(
    arch_mm: np.ndarray, superior_mm: np.ndarray, inferior_mm: np.ndarray, height_mm: float
) -> np.ndarray:
    """Return the centre of the bone between the articular processes."""
    share = (superior_mm[2] - height_mm) / max(superior_mm[2] - inferior_mm[2], 1.0)
    place = superior_mm + np.clip(share, 0.2, 0.8) * (inferior_mm - superior_mm)
    near = arch_mm[np.linalg.norm(arch_mm - place, axis=1) < 2 * _PARS_MM]
    return near.mean(axis=0) if len(near) else place
