"""Find a vertebra's body in its label: axes, extent, endplates and back wall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.measure.frame import Frame, Patch, unit
from spinemamba.measure.plane_fit import Plane, fit_level, fit_plane
from spinemamba.measure.symmetry import mirror_axis

RIM = 0.9
"""Endplates are fitted within this share of the body's half width and depth: rims are rounded."""

PLACES = (-0.7, 0.0, 0.7)
"""Anterior, middle and posterior, as shares of the half depth: 15, 50 and 85 % of the depth."""

ROUNDS = 6
SETTLED = 0.02
REACH_MM = 40.0
BEYOND_MM = 5.0
"""Voxels up to here beyond an endplate help to find it."""

LEAST_AGREEMENT = 0.65
"""An endplate that fewer voxels agree with is not given."""

SIZE_MM = {"width": (10.0, 65.0), "depth": (8.0, 55.0), "height": (4.0, 60.0)}
"""What a body can measure."""

LEAST_COS = 0.6
"""A body is not turned by more than about 50 degrees against its neighbours."""

LEAST_SHOWN = 0.85
"""An endplate of whose rim less is in the image is cut."""

MOST_WIDTH, USUAL_WIDTH = 1.75, 1.2
"""What is wider than so many depths is no body alone (sacrum, axis); it then counts as usual."""

NEAR_PLATE_MM = 7.0
"""Where only one endplate is there, the body is looked at so far from it."""


@dataclass(frozen=True)
class Extent:
    """How far a body reaches from its frame's centre, in mm, on either side alike."""

    half_width_mm: float
    half_depth_mm: float
    half_height_mm: float


@dataclass(frozen=True)
class Endplate:
    """An endplate.

    Attributes:
        plane: Over the frame's left and posterior.
        profile_mm: Heights of the endplate itself, which may be hollow, at `PLACES` on the midline.
        centre_lps_mm: Middle of the plane.
        normal_lps: Of the plane, towards the head.
        seen: Whether the image goes on beyond it.
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
        frame: Centre of the body; left, posterior, up.
        extent: Its size.
        plates: Upper (1) and lower (-1) endplate, as far as there are.
    """

    frame: Frame
    extent: Extent
    plates: dict[int, Endplate]

    def on_plate(self, sign: int, x_mm: float, y_mm: float) -> np.ndarray:
        """Return the place of an endplate's plane at so many mm to the left and back, LPS."""
        height = float(self.plates[sign].plane.height_mm(x_mm, y_mm))
        return self.frame.to_lps(np.array([x_mm, y_mm, height]))


def find_body(patch: Patch, start: Frame, signs: tuple[int, ...] = (1, -1)) -> Body:
    """Return the body around a frame.

    The centre goes to the middle of the body between its walls, the axis up to the mean of the
    endplates' normals, until neither moves any more. On the midline the back wall is bare: the
    pedicles leave the body beside it.

    Args:
        patch: The vertebra.
        start: Within the body; roughly up and posterior.
        signs: Which endplates there are: 1 above, -1 below.

    Raises:
        ValueError: If there is no body around the frame; says why.
    """
    frame = start
    for _ in range(ROUNDS):
        frame, extent = _centred(patch, frame, signs)
        planes = [_fit(patch, frame, extent, sign)[0] for sign in signs]
        up = unit(np.sum([plane.normal() for plane in planes], axis=0)) @ frame.axes_lps
        turned = Frame.along(frame.centre_lps_mm, up, frame.posterior)
        turned = Frame.along(turned.centre_lps_mm, up, mirror_axis(patch, turned))
        change = np.linalg.norm(turned.axes_lps - frame.axes_lps)
        frame = turned
        if change < SETTLED:
            break
    if start.up @ frame.up < LEAST_COS or start.posterior @ frame.posterior < LEAST_COS:
        raise ValueError("no body is recognisable: its axes would be far from the spine's")
    frame, extent = _centred(patch, frame, signs)
    return Body(frame, extent, {sign: _endplate(patch, frame, extent, sign) for sign in signs})


def _centred(patch: Patch, frame: Frame, signs: tuple[int, ...]) -> tuple[Frame, Extent]:
    """Return the frame in the middle of the walls around it, and how far they are."""
    for _ in range(3):
        ends = {sign: reach(patch, frame, (0, 0, sign), (4.0, 4.0, 0.0)) for sign in signs}
        height = sum(ends.values()) if len(ends) == 2 else 2 * NEAR_PLATE_MM
        # Where only one end is there, stay near it.
        up = ends.get(1, height - ends.get(-1, 0.0))
        frame = frame.moved((0, 0, up - height / 2))
        spread = (3.0, 0.0, 0.2 * height)
        back, front = (reach(patch, frame, (0, sign, 0), spread) for sign in (1, -1))
        frame, depth = frame.moved((0, (back - front) / 2, 0)), back + front
        # Ahead of the middle, where no pedicle leaves.
        ahead, spread = frame.moved((0, -0.15 * depth, 0)), (0.0, 0.15 * depth, 0.2 * height)
        try:
            left, right = (reach(patch, ahead, (sign, 0, 0), spread) for sign in (1, -1))
        except ValueError:
            left, right = REACH_MM, REACH_MM  # the sacrum's sides go on
        width = left + right
        if width > MOST_WIDTH * depth:
            width = USUAL_WIDTH * depth
        else:
            frame = frame.moved(((left - right) / 2, 0, 0))
    sizes = {"width": width, "depth": depth, "height": height}
    for name, size in sizes.items():
        if not SIZE_MM[name][0] <= size <= SIZE_MM[name][1]:
            raise ValueError(f"no body is recognisable: its {name} would be {size:.0f} mm")
    return frame, Extent(width / 2, depth / 2, height / 2)


def reach(
    patch: Patch, frame: Frame, toward: tuple[int, int, int], spread_mm: tuple[float, float, float]
) -> float:
    """Return how far the body reaches in a direction: the median over rays side by side.

    Raises:
        ValueError: If most rays start outside, or find no end.
    """
    grid = np.stack(np.meshgrid(*[np.linspace(-s, s, 5 if s else 1) for s in spread_mm]), axis=-1)
    direction = np.array(toward, float) @ frame.axes_lps
    exits = patch.exits_mm(frame.to_lps(grid.reshape(-1, 3)), direction, REACH_MM)
    median = float(np.median(np.where(np.isnan(exits), np.inf, exits)))
    if not np.isfinite(median):
        raise ValueError("no body is recognisable where it is expected")
    return median


def _fit(
    patch: Patch, frame: Frame, extent: Extent, sign: int
) -> tuple[Plane, tuple[np.ndarray, np.ndarray]]:
    """Return an endplate's plane, seen with the endplate on top, and the voxels that gave it."""
    height = extent.half_height_mm + BEYOND_MM
    places, inside = patch.near(frame, (extent.half_width_mm, extent.half_depth_mm, height))
    half = np.array([extent.half_width_mm, extent.half_depth_mm])
    ring = ((places[:, :2] / half) ** 2).sum(axis=1)
    keep = (ring <= RIM**2) & (sign * places[:, 2] > 0)
    voxels = places[keep] * (1, 1, sign), inside[keep]
    plane = fit_plane(*voxels, patch.step_mm(frame.up))
    return Plane(sign * plane.level_mm, sign * plane.slope, plane.agreement), voxels


def _endplate(patch: Patch, frame: Frame, extent: Extent, sign: int) -> Endplate:
    """Return the upper (sign 1) or lower (-1) endplate of a body.

    Raises:
        ValueError: If it is not clear.
    """
    plane, (places, inside) = _fit(patch, frame, extent, sign)
    if plane.agreement < LEAST_AGREEMENT:
        raise ValueError("the endplate is not clear in the label")
    window = np.array(
        [0.45 * extent.half_width_mm, max(3.0, 1.25 * max(patch.geometry.spacing_mm))]
    )
    above = places[:, 2] - sign * plane.height_mm(places[:, 0], places[:, 1])
    profile = []
    for share in PLACES:
        y = share * extent.half_depth_mm
        near = (np.abs(places[:, :2] - (0, y)) <= window).all(axis=1)
        level = fit_level(above[near], inside[near], patch.step_mm(frame.up))
        profile.append(sign * level + float(plane.height_mm(0.0, y)))
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rim = RIM * np.array([extent.half_width_mm * np.cos(turn), extent.half_depth_mm * np.sin(turn)])
    beyond = np.array([*rim, plane.height_mm(*rim) + sign * patch.step_mm(frame.up)]).T
    return Endplate(
        plane,
        tuple(profile),
        frame.to_lps(np.array([0.0, 0.0, plane.level_mm])),
        plane.normal() @ frame.axes_lps,
        bool(patch.shows(frame.to_lps(beyond)).mean() >= LEAST_SHOWN),
    )
