"""Sizes of the vertebrae by level, for an average adult."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np


@dataclass(frozen=True)
class Shape:
    """Sizes of one vertebra in mm, in a frame with the origin at the centre of the body.

    Attributes:
        width: Width of the body at the endplates.
        depth: Anterior-posterior depth of the body.
        canal_width: Width of the spinal canal.
        canal_depth: Anterior-posterior depth of the spinal canal.
        pedicle_width: Width of a pedicle.
        pedicle_height: Height of a pedicle.
        span: Distance between the tips of the transverse processes.
        tip_y: Y (posterior) of the tip of the spinous process.
        tip_z: Z (superior) of the tip of the spinous process.
        disc: Height of the disc below.
        height: Height of the body; derived from the distances along the chain.
        crush: Relative loss of anterior height by a compression fracture.
        lip: Size of osteophytes at the rims, relative to the width.
    """

    width: float
    depth: float
    canal_width: float
    canal_depth: float
    pedicle_width: float
    pedicle_height: float
    span: float
    tip_y: float
    tip_z: float
    disc: float
    height: float = 0.0
    crush: float = 0.0
    lip: float = 0.0

    @property
    def wall(self) -> float:
        """Y of the posterior wall of the body."""
        return self.depth / 2

    @property
    def canal_y(self) -> float:
        """Y of the centre of the canal; the posterior wall is slightly concave."""
        return self.wall + self.canal_depth / 2 - 1.0


SHAPES: dict[str, Shape] = {
    "C1": Shape(17, 14, 28, 30, 7, 9, 76, 31, 0, 4),
    "C2": Shape(18, 16, 24, 17, 8, 9, 56, 36, -9, 3.0),
    "C3": Shape(18, 16.5, 23.5, 15, 5.5, 7, 52, 34, -9, 3.0),
    "C4": Shape(19, 16.5, 23.5, 15, 5.5, 7, 54, 34, -9, 3.0),
    "C5": Shape(21, 17.5, 24, 15, 6, 7, 56, 37, -10, 3.0),
    "C6": Shape(22.5, 18, 25, 15, 6, 7.5, 58, 42, -11, 3.0),
    "C7": Shape(25.5, 19, 25, 15, 7, 8, 66, 49, -14, 3.0),
    "T1": Shape(29, 20, 22, 15, 9, 10, 73, 53, -18, 3.2),
    "T2": Shape(29, 21, 19, 15, 7.5, 11.5, 68, 55, -22, 3.0),
    "T3": Shape(28, 21.5, 17.5, 15, 6.2, 12, 64, 56, -25, 2.8),
    "T4": Shape(26.5, 22, 17, 15, 5.4, 12, 62, 57, -30, 2.8),
    "T5": Shape(27, 24, 17, 15, 5.4, 12, 62, 57, -34, 2.8),
    "T6": Shape(28, 25.5, 17, 15.5, 5.8, 12.5, 62, 57, -38, 3.0),
    "T7": Shape(29, 27, 17, 15.5, 6.2, 12.5, 62, 55, -40, 3.2),
    "T8": Shape(30, 28, 17.5, 15.5, 6.6, 13, 61, 53, -37, 3.4),
    "T9": Shape(33, 30.5, 17.5, 15.5, 7, 14, 59, 51, -31, 3.8),
    "T10": Shape(35.5, 31.5, 18, 15.5, 7.5, 15, 56, 50, -25, 4.4),
    "T11": Shape(38.5, 32.5, 19.5, 16, 8.5, 16.5, 51, 50, -19, 5.2),
    "T12": Shape(40.5, 32.5, 22, 17, 9, 17, 48, 53, -17, 5.8),
    "T13": Shape(40, 32, 22.5, 17, 9, 16, 55, 56, -17, 6),
    "L1": Shape(42, 33.5, 23, 17.5, 9, 15.5, 72, 58, -15, 6.6),
    "L2": Shape(43.5, 34.5, 23.5, 17.5, 9.5, 15.5, 80, 62, -15, 7.4),
    "L3": Shape(45.5, 35, 24, 17.5, 11, 15, 88, 64, -14, 8.2),
    "L4": Shape(49, 36.5, 25, 18, 13.5, 15, 87, 63, -13, 8.8),
    "L5": Shape(51, 36, 27, 18, 16.5, 14, 91, 57, -11, 8.6),
    "L6": Shape(48, 34, 27, 18, 16.5, 14, 91, 55, -10, 8),
    "Sacrum": Shape(48, 33, 29, 17, 16, 16, 110, 55, -20, 0.0),
}
"""Sizes by level, after Panjabi 1991/92; extents and volumes agree with VerSe masks."""


def draw_shape(
    name: str, height: float, scale: float, wear: float, rng: np.random.Generator
) -> Shape:
    """Return the shape of one vertebra of one patient.

    Args:
        name: Level.
        height: Height of the body in mm, including the scale.
        scale: Size of the patient.
        wear: Degeneration from 0 to 1: osteophytes and, rarely, compression fractures.
        rng: Random generator; sizes vary by about 4 % between patients.
    """
    base = SHAPES[name]
    sizes = {
        field.name: getattr(base, field.name) * scale * rng.normal(1.0, 0.04)
        for field in fields(base)
    }
    sizes["height"] = height
    sizes["lip"] = 0.09 * wear * rng.uniform()
    sizes["crush"] = rng.uniform(0.1, 0.4) if rng.uniform() < 0.08 * wear else 0.0
    return replace(base, **sizes)
