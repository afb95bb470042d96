"""Find the two pedicles of a vertebra: the isthmus between body and arch, and its axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.measure.body import Body
from spinemamba.measure.frame import unit
from spinemamba.measure.vertebra import Vertebra
from spinemamba.parts.bone_field import STEP_MM, BoneField
from spinemamba.parts.sections import CIRCLE, Line, Tube, fit_tube, sections

NOT_FOUND = "no pedicle is recognisable between body and arch"
_CUT = "cut by the image"

_AROUND_MM = (-4.0, 0.0, 4.0)
"""Places along the axis whose sections must be in the field of view."""

_LEAST_ASIDE_MM = 3.0
"""Smallest distance of a pedicle from the midline; nearer pieces are body or lamina."""

_BEHIND_MM = (-1.0, 11.0)
"""Range behind the posterior wall in which the isthmus is searched."""

_FLOOR = -0.45
"""Lower end of the pedicles, in half heights of the body; below, rims of endplates stand out."""

_LEAST_MM2, _MOST_MM2 = 5.0, 450.0
_ROUNDS, _DAMPING = 10, 0.4
"""Oblique sections of a tube with a waist exaggerate the turn by up to a factor of two."""

_REACH_MM, _BASE_MM = 6.0, 4.0
"""Half length of the line along which the isthmus is searched, and of its base for a direction."""

_LEAST_SECTIONS = 6
_WIDENS, _LEAST_WEIGHT = 0.25, 0.01
"""Relative increase of the area at which the weight of a section falls to 1/e, and the smallest
weight: wider sections contain a part of the body or of the arch."""

_RIM_SHARE, _RIM_MM = 1.2, 0.8
"""Size of the tube around the narrowest section, as a share of its radii, and in addition."""

_MOST_LONG = 2.2
"""Largest radius of a section in medians; L5 and thoracic pedicles are up to twice as high as
wide."""

_LEAST_AGREEMENT = 0.8
"""Of the tube with the voxels; otherwise the section is taken from the field."""

_CORE_MM = (-4.0, 8.0, 0.5)
"""Range of the axis that is in bone: a pedicle joins an arch and a body. Start, stop, step."""

_MOST_TURN_DEG = 70.0


@dataclass(frozen=True)
class _Region:
    """What pedicles of a region look like.

    Attributes:
        usual_deg: First direction, inwards from straight ahead.
        inward_deg: Plausible directions.
        width_mm: Plausible widths.
        height_mm: Plausible heights.
        medial: Whether the piece nearest to the canal is the pedicle, not the largest one: behind
            the transverse foramen lies a thicker bar.
    """

    usual_deg: float
    inward_deg: tuple[float, float]
    width_mm: tuple[float, float]
    height_mm: tuple[float, float]
    medial: bool = False


_NECK = _Region(40.0, (15.0, 65.0), (2.0, 9.0), (3.5, 12.0), medial=True)
_TRUNK = _Region(12.0, (-15.0, 50.0), (2.0, 24.0), (5.0, 24.0))


def find_pedicle(field: BoneField, body: Body, side: float, level: str) -> Tube:
    """Return the pedicle of one side.

    Args:
        field: The vertebra, in the frame of its body.
        body: Its body.
        side: 1 left, -1 right.
        level: Its level.

    Raises:
        ValueError: If there is none; the message is the reason.
    """
    region = _NECK if level[0] == "C" else _TRUNK
    line = _checked(_along_tube(field, _first_line(field, body, side, region)), side)
    radii = sections(field, line, 0.0).radii_mm[0]
    most = _rim(radii)
    tube = None
    for _ in range(2):
        try:
            tube = fit_tube(field, line, most)
        except (ValueError, np.linalg.LinAlgError):
            break
        line = _checked(tube.line, side)
    if tube is None or tube.agreement < _LEAST_AGREEMENT:
        # A short pedicle is no tube over the length of the fit: take its section in the field.
        tube = Tube(line, np.minimum(radii, _MOST_LONG * np.median(radii))[:, None] * CIRCLE, 0.0)
    inward = np.degrees(np.arctan2(-side * line.forward[0], -line.forward[1]))
    values = ((inward, region.inward_deg), (tube.width_mm, region.width_mm))
    for value, (low, high) in (*values, (tube.height_mm, region.height_mm)):
        if not low <= value <= high:
            raise ValueError(NOT_FOUND)
    if (field.at(line.at(np.arange(*_CORE_MM))) <= 0).any():
        raise ValueError(NOT_FOUND)
    return tube


def shown_pedicle(field: BoneField, vertebra: Vertebra, side: float) -> Tube:
    """Return the pedicle of one side, if the field of view shows all of it.

    Args:
        field: The vertebra, in the frame of its body.
        vertebra: The vertebra; has a body.
        side: 1 left, -1 right.

    Raises:
        ValueError: If there is none, or the image cuts it; the message is the reason.
    """
    tube = find_pedicle(field, vertebra.body, side, vertebra.name)
    around = tube.outline_mm @ np.array(tube.line.across())
    points = tube.line.at(np.array(_AROUND_MM))[:, None] + around
    if not vertebra.patch.shows(field.frame.to_lps(points)).all():
        raise ValueError(_CUT)
    return tube


def rough_pedicle(field: BoneField, body: Body, side: float, level: str) -> Tube:
    """Return where the search for a pedicle begins: the smallest coronal section, usual direction.

    For a pedicle that `find_pedicle` does not accept, but whose place is needed.

    Arguments and errors as for `find_pedicle`.
    """
    line = _first_line(field, body, side, _NECK if level[0] == "C" else _TRUNK)
    radii = sections(field, line, 0.0).radii_mm[0]
    if not radii.any():
        raise ValueError(NOT_FOUND)
    return Tube(line, np.minimum(radii, _MOST_LONG * np.median(radii))[:, None] * CIRCLE, 0.0)


def _first_line(field: BoneField, body: Body, side: float, region: _Region) -> Line:
    """Return a line through the smallest coronal section beside the canal.

    Raises:
        ValueError: If there is none.
    """
    extent = body.extent
    x, y, z = field.axes_mm()
    low, high = (np.searchsorted(y, extent.half_depth_mm + edge) for edge in _BEHIND_MM)
    here = (z > _FLOOR * extent.half_height_mm) & (z < extent.half_height_mm + 4)
    beside = side * x >= _LEAST_ASIDE_MM
    found = []
    for k in range(low, min(high, len(y))):
        pieces, count = ndimage.label((field.depth_mm[here, k] > 0) & beside)
        best = None
        for piece in range(1, count + 1):
            rows, columns = np.nonzero(pieces == piece)
            area = len(rows) * STEP_MM**2
            if not _LEAST_MM2 <= area <= _MOST_MM2:
                continue
            centre = np.array([x[columns].mean(), y[k], z[here][rows].mean()])
            rank = -side * centre[0] if region.medial else area
            if best is None or rank > best[0]:
                best = (rank, area, centre)
        if best is not None:
            found.append(best[1:])
    if not found:
        raise ValueError(NOT_FOUND)
    least = 0.3 * float(np.median([area for area, _ in found]))
    found = [one for one in found if one[0] >= least]
    areas = ndimage.gaussian_filter1d(np.array([area for area, _ in found]), 1.0, mode="nearest")
    centres = np.array([centre for _, centre in found])
    inward = np.radians(region.usual_deg)
    return Line(
        centres[int(np.argmin(areas))], np.array([-side * np.sin(inward), -np.cos(inward), 0])
    )


def _along_tube(field: BoneField, line: Line) -> Line:
    """Return the line moved to the narrowest section, and turned along the pedicle.

    The direction follows the centroids of the sections. Bone outside of the tube of the narrowest
    section is cut off, so that body, processes and laminae do not attract the line.

    Raises:
        ValueError: If the line leaves the bone.
    """
    for _ in range(_ROUNDS):
        cut = sections(field, line, _REACH_MM)
        narrow = _narrowest(cut.area_mm2, cut.along_mm)
        most = _rim(cut.radii_mm[narrow])
        offsets = cut.offsets_mm(most)
        wider = cut.area_mm2 / cut.area_mm2[narrow] - 1
        near = (np.abs(cut.along_mm - cut.along_mm[narrow]) <= _BASE_MM) & (cut.area_mm2 > 0)
        weights = np.exp(-((wider[near] / _WIDENS) ** 2)) + _LEAST_WEIGHT
        if near.sum() < _LEAST_SECTIONS:
            raise ValueError(NOT_FOUND)
        slope = np.polyfit(cut.along_mm[near], offsets[near], 1, w=weights)[0]
        left, up = line.across()
        here = offsets[narrow]
        point = line.at(cut.along_mm[narrow]) + here[0] * left + here[1] * up
        turn = _DAMPING * slope
        line = Line(point, unit(line.forward + turn[0] * left + turn[1] * up))
    return line


def _rim(radii: np.ndarray) -> np.ndarray:
    """Return the largest radii of the tube around a section; gaps in its border are closed."""
    usual = np.median(radii)
    closed = np.minimum(radii, _MOST_LONG * usual)
    return _RIM_SHARE * closed + _RIM_MM


def _narrowest(areas: np.ndarray, along_mm: np.ndarray) -> int:
    """Return the index of the smallest area; among similar ones, the nearest to the middle."""
    score = np.where(areas < _LEAST_MM2, np.inf, areas * (1 + 0.004 * along_mm**2))
    return int(np.argmin(score))


def _checked(line: Line, side: float) -> Line:
    """Refuse a line that does not lead forward, or crosses the midline.

    Raises:
        ValueError: If it does.
    """
    turn = np.degrees(np.arccos(np.clip(-line.forward[1], -1, 1)))
    if turn > _MOST_TURN_DEG or side * line.point_mm[0] < _LEAST_ASIDE_MM:
        raise ValueError(NOT_FOUND)
    return line
