"""Real vertebral shapes, stored as signed distances on small grids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.phantom.options import ALL_LEVELS
from spinemamba.phantom.sdf import FAR_MM, Point

UNITS_PER_MM = 16
"""Distances are stored as int8 in units of 1/16 mm and clipped at 7.9 mm."""

_STAND_INS = {"T13": "T12", "L6": "L5"}
"""Rare levels use the shape of the level above."""


@dataclass(frozen=True)
class StoredShape:
    """Shape of one vertebra in its local frame; `sdf` describes the axes.

    Attributes:
        name: Level.
        donor: Name of the source spine.
        step_mm: Mean distance from the centre of the body to those of the neighbours.
        low_mm: Local X, Y, Z of the first voxel.
        spacing_mm: Voxel spacing, equal along all axes.
        distance: Signed distance, int8 in 1 / `UNITS_PER_MM` mm, negative inside, (z, y, x).
    """

    name: str
    donor: str
    step_mm: float
    low_mm: tuple[float, float, float]
    spacing_mm: float
    distance: np.ndarray


@dataclass(frozen=True)
class FittedShape:
    """A stored shape, scaled to a patient.

    Attributes:
        stored: Stored shape.
        scale: Factors along X, Y, Z; a negative factor along X mirrors the shape.
    """

    stored: StoredShape
    scale: tuple[float, float, float]

    @property
    def bounds(self) -> tuple[Point, Point]:
        """Lower and upper corner of the bounding box in the local frame."""
        sizes = np.asarray(self.stored.distance.shape[::-1]) * self.stored.spacing_mm
        ends = np.stack([self.stored.low_mm, self.stored.low_mm + sizes]) * self.scale
        return tuple(ends.min(axis=0)), tuple(ends.max(axis=0))

    def at(self, coordinates: list[np.ndarray]) -> np.ndarray:
        """Return the distance at local coordinates X, Y, Z in mm, each (z, y, x).

        Returns:
            float32 in mm, `FAR_MM` outside the stored grid.
        """
        stored = self.stored
        index = [
            (c / np.float32(s) - np.float32(low)) / np.float32(stored.spacing_mm)
            for c, s, low in zip(coordinates, self.scale, stored.low_mm, strict=True)
        ]
        units = ndimage.map_coordinates(
            stored.distance.astype(np.float32),
            index[::-1],
            order=1,
            mode="constant",
            cval=FAR_MM * UNITS_PER_MM,
        )
        mean = float(np.prod(np.abs(self.scale))) ** (1 / 3)
        return units.astype(np.float32) * np.float32(mean / UNITS_PER_MM)


class ShapeBank:
    """Collection of stored shapes.

    Args:
        shapes: Shapes in any order.
    """

    def __init__(self, shapes: list[StoredShape]):
        self.shapes = shapes
        self._donors = sorted({shape.donor for shape in shapes})

    def draw_donors(self, rng: np.random.Generator) -> list[str]:
        """Return the donors in a random order of preference for one patient."""
        return [self._donors[k] for k in rng.permutation(len(self._donors))]

    def pick(self, name: str, donors: list[str]) -> StoredShape | None:
        """Return the shape of a level, or of a neighbour, from the first donor that has it.

        Return None for C1, C2 and the sacrum, whose joints depend on the adjacent shapes.
        """
        if name in ("C1", "C2", "Sacrum"):
            return None
        index = ALL_LEVELS.index(_STAND_INS.get(name, name))
        for distance in (0, 1):
            for donor in donors:
                for shape in self.shapes:
                    steps = abs(ALL_LEVELS.index(shape.name) - index)
                    if shape.donor == donor and steps == distance:
                        return shape
        return None
