"""Endplates as the record keeps them: places that can be drawn."""

from __future__ import annotations

import numpy as np

from spinemamba.measure.body import Body
from spinemamba.protocol.measurements import Plate, Vector

SIDES = {1: "superior", -1: "inferior"}


def plate_of(body: Body, sign: int) -> Plate:
    """Return the upper (1) or lower (-1) endplate of a body that has it."""
    width, depth = body.extent.half_width_mm, body.extent.half_depth_mm
    places = ((0, 0), (0, -depth), (0, depth), (width, 0), (-width, 0))
    middle, *others = (vector(body.on_plate(sign, x, y)) for x, y in places)
    return Plate(middle, vector(body.plates[sign].normal_lps), *others)


def vector(values: np.ndarray) -> Vector:
    """Return three numbers as the record keeps them."""
    return tuple(float(v) for v in values)
