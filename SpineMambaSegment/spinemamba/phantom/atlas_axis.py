"""C1 and C2, whose shapes differ from all other vertebrae."""

from __future__ import annotations

import itertools

import numpy as np

from spinemamba.phantom.curve import Placed
from spinemamba.phantom.joints import joint_below
from spinemamba.phantom.sdf import Field, plate
from spinemamba.phantom.vertebra import SIDES, build

_DENS_Y = -1.5
"""Y of the dens in the frames of C1 and of C2."""


def build_atlas(field: Field, placed: Placed) -> None:
    """Add C1: two lateral masses, and two arches around dens and canal."""
    shape = placed.shape
    size = shape.span / 76.0
    for side in SIDES:
        tilt = np.radians(18.0) * side
        axes = np.array(
            [[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]]
        )
        mass = plate((side * 17.0 * size, 2.0, 0.0), (7.0 * size, 9.5 * size, 8.5), axes, 3.0)
        field.add(*mass, 2.5)
        _add_arch(field, side, [(15, -3), (10, -7.5), (0, -10)], (3.2, 3.6), size)
        back = shape.canal_y + 15.0 * size
        _add_arch(
            field, side, [(19, 9), (17, back - 10), (9, back - 2), (0, back)], (3.0, 3.3), size
        )
        tip = side * (shape.span / 2 - 3.2)
        for y in (-1.5, 6.5):
            field.add_capsule(((side * 19 * size, y, 0), (tip, 3.5, -1.0)), (2.6, 3.2))
        hole = side * 27.0 * size, 2.6
        field.cut_capsule(((*hole, -8.0), (*hole, 8.0)), (2.8, 2.8))
    knob = shape.canal_y + 15.0 * size
    field.add_capsule(((0, knob, 0), (0, knob + 2.5, -1)), (3.2, 2.5))
    field.cut_capsule(((0, _DENS_Y, -14), (0, _DENS_Y, 14)), (6.6, 6.6))


def _add_arch(
    field: Field,
    side: float,
    corners: list[tuple[float, float]],
    radii: tuple[float, float],
    size: float,
) -> None:
    points = [(side * x * size, y, 0.0) for x, y in corners]
    for start, stop in itertools.pairwise(points):
        field.add_capsule((start, stop), radii, (1.0, 0.85, 1.5))


def build_axis(field: Field, placed: Placed, gap_mm: float) -> None:
    """Add C2: a typical cervical vertebra with dens and flat superior joint surfaces."""
    shape = placed.shape
    build(field, placed, above=None, gap_mm=gap_mm)
    half = shape.height / 2
    peak = half + 15.5
    field.add_capsule(((0, 0, half - 3), (0, _DENS_Y, peak)), (6.0, 5.0), (1, 1, 1), 3.5)
    for side in SIDES:
        tilt = np.radians(22.0) * side
        axes = np.array(
            [[np.cos(tilt), 0, -np.sin(tilt)], [0, 1, 0], [np.sin(tilt), 0, np.cos(tilt)]]
        )
        centre = (side * 14.5 * shape.width / 18, 2.0, half - 2.5)
        field.add(*plate(centre, (8.0, 8.0, 5.0), axes, 2.5), 3.0)
        joint = joint_below(placed.name, shape)
        pars = centre, (side * joint.x, joint.y, -half + 1.0)
        field.add_capsule(pars, (5.5, 4.8), (1, 1, 1), 3.0)
    field.cut_capsule(((0, _DENS_Y + 17.5, -4), (0, _DENS_Y + 17.5, peak)), (9.0, 9.0), (1.2, 1, 1))
