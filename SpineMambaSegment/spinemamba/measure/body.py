"""Find the body of a vertebra in its label: axes, extent and endplates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.measure.frame import Frame, Patch, unit
from spinemamba.measure.plane_fit import Plane, fit_level, fit_plane

_RIM = 0.9
"""Share of the half width and depth within which endplates are fitted, because rims are rounded."""

PLACES = (-0.7, 0.0, 0.7)
"""Anterior, middle and posterior position in half depths: 15, 50 and 85 % of the depth."""

ROUNDS = 6
"""Largest number of rounds of the search for a body."""

_SETTLED = 0.02
_REACH_MM = 40.0
_BEYOND_MM = 8.0
"""Distance beyond the middle of an endplate up to which voxels are used to fit it: the rims of a
biconcave fracture are that much higher."""

_LEAST_AGREEMENT = 0.65
"""Smallest agreement (see `Plane`) of an endplate; otherwise it is missing."""

_SIZE_MM = {"width": (10.0, 65.0), "depth": (8.0, 55.0), "height": (4.0, 60.0)}
"""Plausible sizes of a body."""

_LEAST_COS = 0.6
"""Cosine of the largest rotation against the neighbours, about 50 degrees."""

_LEAST_SHOWN = 0.85
"""Smallest share of the rim in the field of view; otherwise the endplate is truncated."""

_MOST_WIDTH, _USUAL_WIDTH = 1.75, 1.2
"""Largest and usual ratio of width and depth; wider parts (sacrum, axis) are more than a body, and
get the usual ratio."""

_NEAR_PLATE_MM = 7.0
"""Distance from the centre to the endplate, if only one endplate exists."""


_COARSE_TURNS = np.radians(np.arange(-40.0, 41.0, 10.0))
_FINE_TURNS = np.radians(np.arange(-6.0, 7.0, 3.0))
"""Rotations about the superior axis that are tried; the best one is interpolated."""


@dataclass(frozen=True)
class _Extent:
    """Half the size of a body along the axes of its frame, in mm."""

    half_width_mm: float
    half_depth_mm: float
    half_height_mm: float


@dataclass(frozen=True)
class _Endplate:
    """An endplate.

    Attributes:
        plane: Fitted plane over the left and posterior axis of the frame.
        profile_mm: Heights of the endplate itself, which may be concave, at `PLACES` on the
            midline.
        centre_lps_mm: Centre of the plane.
        normal_lps: Normal of the plane, pointing up.
        seen: Whether the field of view extends beyond it.
    """

    plane: Plane
    profile_mm: tuple[float, float, float]
    centre_lps_mm: np.ndarray
    normal_lps: np.ndarray
    seen: bool


@dataclass(frozen=True)
class Body:
    """A vertebral body.

    Attributes:
        frame: Centre and axes (left, posterior, superior).
        extent: Size.
        plates: Endplates by sign, 1 upper and -1 lower; missing ones are left out.
    """

    frame: Frame
    extent: _Extent
    plates: dict[int, _Endplate]

    def on_plate(self, sign: int, x_mm: float, y_mm: float) -> np.ndarray:
        """Return the point of an endplate's plane at a left and a posterior offset, in LPS."""
        height = float(self.plates[sign].plane.height_mm(x_mm, y_mm))
        return self.frame.to_lps(np.array([x_mm, y_mm, height]))


def find_body(
    patch: Patch, start: Frame, signs: tuple[int, ...] = (1, -1), rounds: int = ROUNDS
) -> Body:
    """Return the body around a frame.

    The centre moves to the middle between the walls, and the superior axis to the mean normal of
    the endplates, until convergence. The posterior wall is measured on the midline, where no
    pedicle covers it.

    Args:
        patch: Label image around the vertebra.
        start: Initial frame inside the body, with approximate axes.
        signs: Endplates to fit: 1 upper, -1 lower.
        rounds: Largest number of rounds; two are enough from a frame that nearly fits.

    Raises:
        ValueError: If no plausible body is found; the message is the reason.
    """
    frame = start
    for _ in range(rounds):
        frame, extent = _centred(patch, frame, signs)
        planes = [_fit(patch, frame, extent, sign)[0] for sign in signs]
        up = unit(np.sum([plane.normal() for plane in planes], axis=0)) @ frame.axes_lps
        turned = Frame.along(frame.centre_lps_mm, up, frame.posterior)
        turned = Frame.along(turned.centre_lps_mm, up, _symmetry_axis(patch, turned))
        change = np.linalg.norm(turned.axes_lps - frame.axes_lps)
        frame = turned
        if change < _SETTLED:
            break
    if start.up @ frame.up < _LEAST_COS or start.posterior @ frame.posterior < _LEAST_COS:
        raise ValueError("no body is recognisable: its axes would be far from the spine's")
    frame, extent = _centred(patch, frame, signs)
    return Body(frame, extent, {sign: _endplate(patch, frame, extent, sign) for sign in signs})


def _centred(patch: Patch, frame: Frame, signs: tuple[int, ...]) -> tuple[Frame, _Extent]:
    """Return the frame centred between the walls, and the size of the body."""
    for _ in range(3):
        ends = {sign: _extent_along(patch, frame, (0, 0, sign), (4.0, 4.0, 0.0)) for sign in signs}
        height = sum(ends.values()) if len(ends) == 2 else 2 * _NEAR_PLATE_MM
        # With only one endplate, stay near it.
        up = ends.get(1, height - ends.get(-1, 0.0))
        frame = frame.moved((0, 0, up - height / 2))
        spread = (3.0, 0.0, 0.2 * height)
        back, front = (_extent_along(patch, frame, (0, sign, 0), spread) for sign in (1, -1))
        frame, depth = frame.moved((0, (back - front) / 2, 0)), back + front
        # Anterior to the centre, where no pedicle is attached.
        ahead, spread = frame.moved((0, -0.15 * depth, 0)), (0.0, 0.15 * depth, 0.2 * height)
        try:
            left, right = (_extent_along(patch, ahead, (sign, 0, 0), spread) for sign in (1, -1))
        except ValueError:
            left, right = _REACH_MM, _REACH_MM  # the sacrum has no lateral wall
        width = left + right
        if width > _MOST_WIDTH * depth:
            width = _USUAL_WIDTH * depth
        else:
            frame = frame.moved(((left - right) / 2, 0, 0))
    sizes = {"width": width, "depth": depth, "height": height}
    for name, size in sizes.items():
        if not _SIZE_MM[name][0] <= size <= _SIZE_MM[name][1]:
            raise ValueError(f"no body is recognisable: its {name} would be {size:.0f} mm")
    return frame, _Extent(width / 2, depth / 2, height / 2)


def _extent_along(
    patch: Patch, frame: Frame, toward: tuple[int, int, int], spread_mm: tuple[float, float, float]
) -> float:
    """Return the distance to the wall in a direction, as median over parallel rays.

    Raises:
        ValueError: If most rays start outside, or find no end.
    """
    grid = np.stack(np.meshgrid(*[np.linspace(-s, s, 5 if s else 1) for s in spread_mm]), axis=-1)
    direction = np.array(toward, float) @ frame.axes_lps
    exits = patch.exits_mm(frame.to_lps(grid.reshape(-1, 3)), direction, _REACH_MM)
    median = float(np.median(np.where(np.isnan(exits), np.inf, exits)))
    if not np.isfinite(median):
        raise ValueError("no body is recognisable where it is expected")
    return median


def _fit(
    patch: Patch, frame: Frame, extent: _Extent, sign: int
) -> tuple[Plane, tuple[np.ndarray, np.ndarray]]:
    """Return the plane of an endplate, and the voxels used, with the endplate pointing up."""
    height = extent.half_height_mm + _BEYOND_MM
    points, inside = patch.near(frame, (extent.half_width_mm, extent.half_depth_mm, height))
    half = np.array([extent.half_width_mm, extent.half_depth_mm])
    radius_squared = ((points[:, :2] / half) ** 2).sum(axis=1)
    selected = (radius_squared <= _RIM**2) & (sign * points[:, 2] > 0)
    voxels = points[selected] * (1, 1, sign), inside[selected]
    plane = fit_plane(*voxels, patch.step_mm(frame.up))
    return Plane(sign * plane.level_mm, sign * plane.slope, plane.agreement), voxels


def _endplate(patch: Patch, frame: Frame, extent: _Extent, sign: int) -> _Endplate:
    """Return the upper (sign 1) or lower (-1) endplate of a body.

    Raises:
        ValueError: If it is not clear in the label.
    """
    plane, (points, inside) = _fit(patch, frame, extent, sign)
    if plane.agreement < _LEAST_AGREEMENT:
        raise ValueError("the endplate is not clear in the label")
    window = np.array(
        [0.45 * extent.half_width_mm, max(3.0, 1.25 * max(patch.geometry.spacing_mm))]
    )
    above = points[:, 2] - sign * plane.height_mm(points[:, 0], points[:, 1])
    profile = []
    for share in PLACES:
        y = share * extent.half_depth_mm
        near = (np.abs(points[:, :2] - (0, y)) <= window).all(axis=1)
        level = fit_level(above[near], inside[near], patch.step_mm(frame.up))
        profile.append(sign * level + float(plane.height_mm(0.0, y)))
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rim = _RIM * np.array(
        [extent.half_width_mm * np.cos(turn), extent.half_depth_mm * np.sin(turn)]
    )
    beyond = np.array([*rim, plane.height_mm(*rim) + sign * patch.step_mm(frame.up)]).T
    return _Endplate(
        plane,
        tuple(profile),
        frame.to_lps(np.array([0.0, 0.0, plane.level_mm])),
        plane.normal() @ frame.axes_lps,
        bool(patch.shows(frame.to_lps(beyond)).mean() >= _LEAST_SHOWN),
    )


def _symmetry_axis(patch: Patch, frame: Frame) -> np.ndarray:
    """Return the posterior direction of the plane of symmetry through the frame's centre, in LPS.

    All voxels of the vertebra are used: the processes are long levers, and neither the width of the
    body nor the shape of one process matters. Voxels whose mirror image is outside the field of
    view are ignored.
    """
    points = frame.to_local(patch.points_lps_mm)
    angle = 0.0
    for turns in (_COARSE_TURNS, _FINE_TURNS):
        overlaps = [_overlap(patch, frame, points, angle + turn) for turn in turns]
        angle += _peak(turns, overlaps)
    return np.array([-np.sin(angle), np.cos(angle), 0.0]) @ frame.axes_lps


def _peak(turns: np.ndarray, overlaps: list[float]) -> float:
    """Return the rotation of the largest overlap, interpolated by a parabola."""
    k = int(np.argmax(overlaps))
    if not 0 < k < len(turns) - 1:
        return float(turns[k])
    before, best, after = overlaps[k - 1 : k + 2]
    bend = before - 2 * best + after
    shift = (before - after) / (2 * bend) if bend < 0 else 0.0
    return float(turns[k] + shift * (turns[1] - turns[0]))


def _overlap(patch: Patch, frame: Frame, points: np.ndarray, angle: float) -> float:
    """Return the share of points whose mirror image is inside the vertebra, too."""
    across = np.array([np.cos(angle), np.sin(angle), 0.0])
    mirrored = frame.to_lps(points - 2 * (points @ across)[:, None] * across)
    shown = patch.shows(mirrored)
    return float(patch.share(mirrored[shown]).mean()) if shown.any() else 0.0
