"""Vertebrae whose shape was measured and not designed: signed distances kept on small grids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.phantom.options import ALL_LEVELS
from spinemamba.phantom.sdf import FAR_MM, Point

UNITS_PER_MM = 16
"""Distances are kept as int8 in sixteenths of a millimetre; further away than 7.9 mm is far."""

STAND_INS = {"T13": "T12", "L6": "L5"}
"""Levels that few spines have look like the one above."""


@dataclass(frozen=True)
class StoredShape:
    """One vertebra in its own frame; see `sdf` for the frame's axes.

    Attributes:
        name: Level.
        donor: Spine that it comes from.
        step_mm: Mean distance of its body's centre to those of its neighbours.
        low_mm: Local X, Y, Z of the first voxel.
        spacing_mm: Voxel size, the same along each axis.
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
    """A stored vertebra made to fit a place.

    Attributes:
        stored: The vertebra.
        scale: Factor along X, Y, Z; negative along X mirrors.
    """

    stored: StoredShape
    scale: tuple[float, float, float]

    @property
    def reach(self) -> tuple[Point, Point]:
        """The local box that holds it."""
        sizes = np.asarray(self.stored.distance.shape[::-1]) * self.stored.spacing_mm
        ends = np.stack([self.stored.low_mm, self.stored.low_mm + sizes]) * self.scale
        return tuple(ends.min(axis=0)), tuple(ends.max(axis=0))

    def at(self, coordinates: list[np.ndarray]) -> np.ndarray:
        """Return the distance at local coordinates X, Y, Z in mm, each (z, y, x).

        Returns:
            float32 in mm, `FAR_MM` where nothing is stored.
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
    """All stored vertebrae.

    Args:
        shapes: In any order.
    """

    def __init__(self, shapes: list[StoredShape]):
        self.shapes = shapes
        self._donors = sorted({shape.donor for shape in shapes})

    def draw_donors(self, rng: np.random.Generator) -> list[str]:
        """Return the donors in the order in which one patient takes after them."""
        return [self._donors[k] for k in rng.permutation(len(self._donors))]

    def pick(self, name: str, donors: list[str]) -> StoredShape | None:
        """Return a level's shape from the first donor that has it, or that has a neighbour.

        None for C1, C2 and the sacrum, whose joints need each other.
        """
        if name in ("C1", "C2", "Sacrum"):
            return None
        place = ALL_LEVELS.index(STAND_INS.get(name, name))
        for reach in (0, 1):
            for donor in donors:
                for shape in self.shapes:
                    near = abs(ALL_LEVELS.index(shape.name) - place)
                    if shape.donor == donor and near == reach:
                        return shape
        return None
