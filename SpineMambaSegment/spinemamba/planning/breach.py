"""Breach test: a cylinder against the bone's surface and the canal, by geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.measure.frame import unit
from spinemamba.parts.bone_field import BoneField
from spinemamba.parts.sections import CIRCLE, Line, first_exit
from spinemamba.planning.canal import Canal
from spinemamba.protocol.planning.plan import Corridor, grade_of

_STEP_MM = 0.5
_LONGEST_MM = 110.0
_TOLERANCE_MM = 0.1
"""Breaches below this are those of the field, which has an error of about a fifth of a node."""

_PEDICLE_MM = 5.0
"""Length of a pedicle behind its isthmus; farther back, a screw leaves the bone by its entry."""


_ISTHMUS_MM, _ACROSS_MM = 3.0, 16.0
"""Half length of the isthmus, and largest medial breach that is measured across it."""


@dataclass(frozen=True)
class Bone:
    """What a screw is tested against.

    Attributes:
        field: The vertebra.
        half_depth_mm: Half the depth of its body: the posterior wall is there on the local axis.
        canal: Its canal; None if none was found.
    """

    field: BoneField
    half_depth_mm: float
    canal: Canal | None

    def chord(self, line: Line) -> tuple[float, float]:
        """Return where a line enters and leaves the bone around its point.

        Raises:
            ValueError: If the point is not in bone.
        """
        along = np.arange(0.0, _LONGEST_MM, _STEP_MM)
        ends = []
        for sign in (-1.0, 1.0):
            depth = self.field.at(line.at(sign * along))
            if depth[0] <= 0:
                raise ValueError("its middle is not in bone")
            k = int(np.argmax(depth <= 0))
            exit_mm = along[k - 1] + _STEP_MM * depth[k - 1] / (depth[k - 1] - depth[k])
            ends.append(sign * float(exit_mm))
        return ends[0], ends[1]


@dataclass(frozen=True)
class Shaft:
    """A cylinder in the frame of a vertebra.

    Attributes:
        line: Its axis, directed to the tip; its point is at the isthmus.
        start_mm: Position of the entry on the line.
        tip_mm: Position of the tip.
        diameter_mm: Diameter.
    """

    line: Line
    start_mm: float
    tip_mm: float
    diameter_mm: float


def tested(bone: Bone, shaft: Shaft, source: str, side: float) -> Corridor:
    """Return a shaft with its breach, grade and margins.

    Pedicle and body are tested from `_PEDICLE_MM` behind the isthmus to the tip, the canal along
    the whole shaft.

    Args:
        bone: The vertebra.
        shaft: Screw to test.
        source: One of `plan.SOURCES`.
        side: 1 left, -1 right.
    """
    line, radius = shaft.line, shaft.diameter_mm / 2
    first = max(shaft.start_mm, min(-_PEDICLE_MM, shaft.tip_mm))
    along = _steps(first, shaft.tip_mm)
    surface = _surface(line, along, radius)
    depth = bone.field.at(surface)
    margin = min(float(depth.min()), float(bone.field.at(line.at(along)).min()) - radius)
    breach = max(0.0, -float(depth.min()), _medial_breach(bone, line, surface, side))
    breach = breach if breach > _TOLERANCE_MM else 0.0
    in_canal, canal_margin = 0.0, None
    if bone.canal is not None:
        whole = _surface(line, _steps(shaft.start_mm, shaft.tip_mm), radius)
        inward = bone.canal.depth_mm(whole)
        axis = bone.canal.depth_mm(line.at(_steps(shaft.start_mm, shaft.tip_mm)))
        free = bone.field.at(whole) < 0
        in_canal = max(0.0, float(inward[free].max(initial=0.0)), float(axis.max()))
        in_canal = in_canal if in_canal > _TOLERANCE_MM else 0.0
        canal_margin = -float(max(inward.max(), axis.max() + radius))
    worst = surface.reshape(-1, 3)[int(np.argmin(depth))]
    wall = _wall(bone, line, worst, side) if breach else ""
    to_lps = bone.field.frame.to_lps
    transverse, sagittal = angles_deg(line.forward, side)
    return Corridor(
        source,
        vector(to_lps(line.at(shaft.start_mm))),
        vector(to_lps(line.at(shaft.tip_mm))),
        shaft.diameter_mm,
        shaft.tip_mm - shaft.start_mm,
        breach,
        wall,
        grade_of(breach),
        in_canal,
        margin if breach or margin > 0 else 0.0,
        canal_margin,
        transverse,
        sagittal,
    )


def _medial_breach(bone: Bone, line: Line, surface: np.ndarray, side: float) -> float:
    """Return how far points in the canal lie from the pedicle's medial wall.

    The nearest bone may be another wall of the canal, so that the distance is measured along the
    width of the pedicle.
    """
    along = (surface - line.point_mm) @ line.forward
    points = surface[np.abs(along) <= _ISTHMUS_MM]
    if bone.canal is None or not len(points):
        return 0.0
    points = points[(bone.canal.depth_mm(points) > 0) & (bone.field.at(points) < 0)]
    if not len(points):
        return 0.0
    outward = side * line.across()[0]
    ways = points[:, None] + np.arange(0.0, _ACROSS_MM, _STEP_MM)[:, None] * outward
    hits = first_exit(-bone.field.at(ways), _STEP_MM)
    return float(hits[np.isfinite(hits)].max(initial=0.0))


def angles_deg(forward: np.ndarray, side: float) -> tuple[float, float]:
    """Return the angle to the sagittal plane (converging is positive) and to the transverse one."""
    return (
        float(np.degrees(np.arctan2(-side * forward[0], -forward[1]))),
        float(np.degrees(np.arcsin(np.clip(forward[2], -1, 1)))),
    )


def shaft_between(bone: Bone, start: np.ndarray, tip: np.ndarray, diameter_mm: float) -> Shaft:
    """Return the shaft between two local points.

    Its reference point is where it is nearest to the surface between canal and body: the isthmus.
    The entry is moved to the bone's surface if it lies outside.

    Raises:
        ValueError: If it does not enter the bone.
    """
    length = float(np.linalg.norm(tip - start))
    if length < _STEP_MM:
        raise ValueError("its ends are at one place")
    line = Line(start, unit(tip - start))
    along = _steps(0.0, length)
    points = line.at(along)
    depth = bone.field.at(points)
    wall = bone.half_depth_mm
    if not (depth > 0).any():
        raise ValueError("it does not enter this vertebra")
    k = int(np.argmin(np.abs(points[:, 1] - wall - 3.0)))
    inside = np.flatnonzero(depth > 0)
    entry = float(along[inside[0]]) if inside[0] > 0 else 0.0
    middle = float(along[k])
    # A line that misses the pedicle meets bone only in the body; it is tested beside the pedicle.
    start_mm = min(entry, max(middle - _PEDICLE_MM, 0.0)) - middle
    return Shaft(Line(line.at(middle), line.forward), start_mm, length - middle, diameter_mm)


def vector(values: np.ndarray) -> tuple[float, float, float]:
    """Return a vector as a tuple of Python floats."""
    return tuple(float(v) for v in values)


def _steps(first: float, last: float) -> np.ndarray:
    return np.linspace(first, last, max(2, round((last - first) / _STEP_MM) + 1))


def _surface(line: Line, along: np.ndarray, radius: float) -> np.ndarray:
    """Return points on the surface of a cylinder, (n, directions, 3)."""
    outward = CIRCLE[::2] @ np.array(line.across())
    return line.at(along)[:, None] + radius * outward


def _wall(bone: Bone, line: Line, point: np.ndarray, side: float) -> str:
    """Return the wall that a point outside of the bone lies beyond."""
    if point[1] < -0.8 * bone.half_depth_mm:
        return "anterior"
    if bone.canal is not None and bone.canal.depth_mm(point) > 0:
        return "medial"
    offset = point - line.point_mm
    offset = offset - (offset @ line.forward) * line.forward
    left, up = line.across()
    across, above = float(offset @ left), float(offset @ up)
    if abs(above) > abs(across):
        return "superior" if above > 0 else "inferior"
    return "lateral" if across * side > 0 else "medial"
