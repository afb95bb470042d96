"""Cross-sections of a pedicle perpendicular to an axis, and a smooth tube fitted to its voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.measure.frame import unit
from spinemamba.measure.plane_fit import fit_border
from spinemamba.parts.bone_field import BoneField

_REACH_MM = 13.0
"""Largest radius of a section; the largest pedicles (L5) measure 20 mm."""

_STEP_MM, _RAY_MM = 0.5, 0.4
_WAVES = 3
"""Highest order of the Fourier series of a section: a teardrop needs three."""

_TUBE_MM = 2.5
"""Half length of the tube that is fitted around the isthmus."""

DIRECTIONS = np.linspace(0, 2 * np.pi, 72, endpoint=False)
"""Directions across a line, from left to up."""

_UP = len(DIRECTIONS) // 4

CIRCLE = np.array([np.cos(DIRECTIONS), np.sin(DIRECTIONS)]).T


@dataclass(frozen=True)
class Line:
    """A directed line through a pedicle, in the frame of the vertebra.

    Attributes:
        point_mm: Point on the line, (3,).
        forward: Unit vector towards the front, (3,).
    """

    point_mm: np.ndarray
    forward: np.ndarray

    def at(self, along_mm: np.ndarray | float) -> np.ndarray:
        """Return the points at distances from the point, shape (..., 3)."""
        return self.point_mm + np.asarray(along_mm, float)[..., None] * self.forward

    def across(self) -> tuple[np.ndarray, np.ndarray]:
        """Return unit vectors across the line: to the left in the transverse plane, and up."""
        left = unit(np.cross(self.forward, np.array([0.0, 0.0, 1.0])))
        left = left if left[0] > 0 else -left
        up = np.cross(left, self.forward)
        return left, up if up[2] > 0 else -up


@dataclass(frozen=True)
class Sections:
    """Sections along a line, as distances from the line to the border in all directions.

    Attributes:
        along_mm: Positions on the line, (n,).
        radii_mm: Distance to the border, at most the reach, by direction in `DIRECTIONS`; 0 where
            the line is not in bone, (n, directions).
    """

    along_mm: np.ndarray
    radii_mm: np.ndarray

    @property
    def area_mm2(self) -> np.ndarray:
        """Areas of the sections, (n,)."""
        return (self.radii_mm**2).mean(axis=1) * np.pi

    def offsets_mm(self, most_mm: np.ndarray) -> np.ndarray:
        """Return the centroids across the line (left, up), (n, 2).

        Args:
            most_mm: Largest radius in each direction: bone beyond is another part.
        """
        radii = np.minimum(self.radii_mm, most_mm)
        moments = (radii**3) @ CIRCLE / 3
        return moments / np.maximum((radii**2).sum(axis=1, keepdims=True) / 2, 1e-9)


def sections(field: BoneField, line: Line, half_mm: float, reach_mm: float = _REACH_MM) -> Sections:
    """Return the sections within a distance of the line's point."""
    along = np.arange(-half_mm, half_mm + _STEP_MM / 2, _STEP_MM)
    left, up = line.across()
    outward = CIRCLE @ np.array([left, up])
    steps = np.arange(0.0, reach_mm + _RAY_MM / 2, _RAY_MM)
    rays = steps[None, :, None] * outward[:, None]
    depth = field.at(line.at(along)[:, None, None] + rays)
    return Sections(along, np.minimum(first_exit(depth, _RAY_MM), reach_mm))


def first_exit(depth: np.ndarray, step_mm: float) -> np.ndarray:
    """Return where each ray first leaves the bone; infinite if it does not, 0 if it starts outside.

    Args:
        depth: Depth below the surface along the rays, the last axis.
        step_mm: Distance of the samples.
    """
    out = depth <= 0
    first = np.argmax(out, axis=-1)
    k = np.maximum(first, 1)[..., None]
    before, after = (np.take_along_axis(depth, k - j, -1)[..., 0] for j in (1, 0))
    exits = step_mm * (k[..., 0] - 1 + before / np.maximum(before - after, 1e-9))
    exits = np.where(first == 0, 0.0, exits)
    return np.where(out.any(axis=-1), exits, np.inf)


@dataclass(frozen=True)
class Tube:
    """A tube fitted to the voxels around the isthmus.

    Attributes:
        line: Line through the centroids of its sections.
        outline_mm: Points of the section at the isthmus, across the line (left, up), from the
            line, (n, 2).
        agreement: Share of the voxels near its surface that are on the right side.
    """

    line: Line
    outline_mm: np.ndarray
    agreement: float

    @property
    def width_mm(self) -> float:
        """Length of the chord through the centroid in the transverse plane."""
        return _chord(self.outline_mm, 0)

    @property
    def height_mm(self) -> float:
        """Length of the chord through the centroid along the axis up."""
        return _chord(self.outline_mm, 1)

    @property
    def area_mm2(self) -> float:
        """Area of the section."""
        return _area_centre(self.outline_mm)[0]


def fit_tube(field: BoneField, line: Line, most_mm: np.ndarray) -> Tube:
    """Fit a tube to the voxels around a line's point.

    The tube is an ellipse whose radius is corrected by a Fourier series of the direction, and
    changes along the line. Every voxel says on which side of the surface it lies, so that the fit
    is finer than the voxels.

    Args:
        field: The vertebra.
        line: Axis; its point is at the isthmus.
        most_mm: Largest radius in each of `DIRECTIONS`: voxels beyond belong to other parts.

    Raises:
        ValueError: If no border is found.
    """
    left, up = line.across()
    half = max(_TUBE_MM, 1.2 * field.voxel_mm)
    places, inside = field.voxels_near(line.point_mm, float(most_mm.max()) + half)
    offset = places - line.point_mm
    s, u, v = offset @ line.forward, offset @ left, offset @ up
    within = np.interp(np.arctan2(v, u), DIRECTIONS, most_mm, period=2 * np.pi)
    use = (np.abs(s) <= half) & (np.hypot(u, v) <= within)
    # In units of the ellipse, the section is nearly round, which few waves describe.
    radii = np.minimum(sections(field, line, 0.0).radii_mm[0], most_mm)
    semi = np.maximum([radii[:: len(radii) // 2].mean(), radii[_UP :: len(radii) // 2].mean()], 1.0)
    mean = float(np.sqrt(semi.prod()))
    u, v, inside = u[use] / semi[0], v[use] / semi[1], inside[use]
    rho = mean * np.hypot(u, v)
    design = _features(np.arctan2(v, u), s[use] / half)
    weights = fit_border(design, rho, inside, field.voxel_mm)
    fitted = design @ weights
    near = np.abs(fitted - rho) < max(1.5 * field.voxel_mm, 1.0)
    agreement = float(((fitted > rho) == inside)[near].mean()) if near.any() else 0.0
    radius = _features(DIRECTIONS, np.zeros(len(DIRECTIONS))) @ weights / mean
    outline = np.maximum(radius, 0.05)[:, None] * CIRCLE * semi
    middle = _area_centre(outline)[1]
    point = line.point_mm + middle[0] * left + middle[1] * up
    return Tube(Line(point, line.forward), outline - middle, agreement)


def _features(angle: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Return the features of a radius: a Fourier series, and changes along the line."""
    waves = [np.ones_like(angle)]
    for order in range(1, _WAVES + 1):
        waves += [np.cos(order * angle), np.sin(order * angle)]
    shape = np.array(waves).T
    return np.column_stack([shape, s[:, None] * shape[:, :3], s**2])


def _area_centre(outline: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the area and the centroid of a polygon, (n, 2)."""
    following = np.roll(outline, -1, axis=0)
    cross = outline[:, 0] * following[:, 1] - following[:, 0] * outline[:, 1]
    area = cross.sum() / 2
    return float(area), ((outline + following) * cross[:, None]).sum(axis=0) / (6 * area)


def _chord(outline: np.ndarray, axis: int) -> float:
    """Return the length of the chord through the origin along an axis (0 left, 1 up)."""
    along, aside = outline[:, axis], outline[:, 1 - axis]
    ends = []
    for sign in (1, -1):
        following = np.roll(aside, -1)
        crosses = np.flatnonzero((aside <= 0) != (following <= 0))
        share = aside[crosses] / (aside[crosses] - following[crosses])
        there = along[crosses] + share * (np.roll(along, -1)[crosses] - along[crosses])
        ends.append(float((sign * there).max(initial=0.0)))
    return sum(ends)
