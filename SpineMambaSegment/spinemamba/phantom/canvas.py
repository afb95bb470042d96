"""Label and tissue arrays of a phantom, and painting on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from spinemamba.imaging.volume import Geometry
from spinemamba.phantom.sdf import (
    FAR_MM,
    WORLD,
    Box,
    Field,
    Frame,
    Grid,
    Point,
    capsule,
    capsule_box,
)
from spinemamba.phantom.tissue import OTHER_BONE, Tissue

_TILE = 64

_IS_OTHER_BONE = np.isin(np.arange(256), (*OTHER_BONE, Tissue.MARROW))


class Canvas:
    """Labels and tissues of a phantom under construction.

    Args:
        geometry: Voxel grid with axes z, y, x in LPS directions.
        rng: Random generator.

    Attributes:
        grid: The voxel grid.
        labels: VerSe label values, uint8.
        tissues: Values of `Tissue`, uint8.
    """

    def __init__(self, geometry: Geometry, rng: np.random.Generator):
        self.grid = Grid(geometry)
        self.rng = rng
        self.labels = np.zeros(geometry.shape, np.uint8)
        self.tissues = np.zeros(geometry.shape, np.uint8)
        self._nearest = np.full(geometry.shape, np.float16(FAR_MM), np.float16)
        self._tiles: dict[float, np.ndarray] = {}

    @property
    def voxel_mm(self) -> float:
        """Mean voxel size."""
        return float(np.prod(self.grid.geometry.spacing_mm) ** (1 / 3))

    def rough(self, box: Box, grain_mm: float) -> np.ndarray:
        """Return smooth noise with standard deviation 1 in a box; equal where boxes overlap."""
        if grain_mm not in self._tiles:
            white = self.rng.standard_normal((_TILE, _TILE, _TILE), dtype=np.float32)
            sigma = [grain_mm / s for s in self.grid.geometry.spacing_mm]
            smooth = ndimage.gaussian_filter(white, sigma, mode="wrap")
            self._tiles[grain_mm] = smooth / smooth.std()
        indices = [np.arange(s.start, s.stop) % _TILE for s in box]
        return self._tiles[grain_mm][np.ix_(*indices)]

    def paint(self, field: Field, tissue: Tissue, over: Sequence[Tissue] | None = None) -> None:
        """Set the tissue inside a field; ``over`` limits this to some tissues."""
        inside = field.distance < 0
        view = self.tissues[field.box]
        if over is not None:
            inside &= np.isin(view, over)
        view[inside] = tissue

    def paint_bone(self, field: Field, tissue: Tissue, cortex_mm: float) -> None:
        """Paint bone other than the spine: cortex with marrow inside."""
        view = self.tissues[field.box]
        view[field.distance < 0] = tissue
        view[field.distance < -max(cortex_mm, 0.6 * self.voxel_mm)] = Tissue.MARROW

    def paint_vertebra(
        self, field: Field, value: int, cortex_mm: np.ndarray, gap: np.ndarray
    ) -> None:
        """Paint a vertebra with a gap to the vertebrae painted before.

        Args:
            field: Signed distance to the vertebra.
            value: Label value.
            cortex_mm: Thickness of the cortex, same shape as the field.
            gap: Gap to neighbours in mm, same shape as the field.
        """
        distance = field.distance
        nearest = self._nearest[field.box]
        inside = (distance < 0) & (distance < nearest)
        contested = np.abs(distance - nearest) < gap
        contested &= (distance < 0) | (nearest < 0)
        labels, tissues = self.labels[field.box], self.tissues[field.box]
        # Cartilage separates ribs and pelvis from the spine.
        rim = (distance >= 0) & (distance < np.maximum(gap, np.float32(0.5)))
        tissues[rim & _IS_OTHER_BONE[tissues]] = Tissue.CARTILAGE
        labels[inside] = value
        bone = distance < -np.maximum(cortex_mm, 0.6 * self.voxel_mm)
        tissues[inside] = Tissue.CORTICAL
        tissues[inside & bone] = Tissue.TRABECULAR
        room = contested & (inside | (labels > 0))
        labels[room] = 0
        tissues[room] = Tissue.CARTILAGE
        np.minimum(nearest, distance, out=nearest, casting="same_kind")

    def field(self, frame: Frame, low: Point, high: Point) -> Field | None:
        """Return an empty field over a local box, or None if the box is outside the image."""
        box = self.grid.box(frame, low, high)
        return None if box is None else Field(self.grid, frame, box)

    def tube(
        self,
        points: np.ndarray,
        radii: float | Sequence[float],
        tissue: Tissue,
        *,
        stretch: Point = (1.0, 1.0, 1.0),
        over: Sequence[Tissue] | None = None,
    ) -> None:
        """Paint a tube along a polyline of LPS points (n, 3)."""
        sizes = np.broadcast_to(np.asarray(radii, float), len(points))
        for k in range(len(points) - 1):
            ends = tuple(points[k]), tuple(points[k + 1])
            pair = float(sizes[k]), float(sizes[k + 1])
            field = self.field(WORLD, *capsule_box(ends, pair, stretch))
            if field is not None:
                field.distance = capsule(ends, pair, stretch)(*field.coordinates)
                self.paint(field, tissue, over)

    def keep_largest(self) -> None:
        """Keep the largest connected component of each label; the others become cartilage."""
        for value, box in enumerate(ndimage.find_objects(self.labels), start=1):
            if box is None:
                continue
            mask = self.labels[box] == value
            components, count = ndimage.label(mask)
            if count > 1:
                sizes = np.bincount(components.ravel())[1:]
                small = mask & (components != sizes.argmax() + 1)
                self.labels[box][small] = 0
                self.tissues[box][small] = Tissue.CARTILAGE
