"""Outputs of the two networks for the voxels around the spine."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spinemamba.imaging.truncation import FieldOfView
from spinemamba.imaging.volume import Geometry


@dataclass(frozen=True)
class VoxelPredictions:
    """Voxel predictions on one grid in canonical orientation.

    Attributes:
        bone: Probability of any vertebra or the sacrum, float32 (z, y, x).
        core: Probability of a body core, float32 (z, y, x): voxels deeper than 45 % of the
            greatest depth of a vertebra.
        levels: Probability of each of `NETWORK_LEVELS` given bone, (25, z, y, x).
        geometry: Grid of these arrays: part of the image at the spacing of the fine network.
        coarse_levels: Like ``levels``, from the coarse network, whose windows show more anatomy.
        image_geometry: Grid of the whole image in canonical orientation.
        offsets_mm: Vector from each voxel to the centre of its vertebra's core along z, y, x,
            float16 (3, z, y, x); None if the fine network predicts no offsets.
        view: Field of view of the image; None if it fills the grid.
    """

    bone: np.ndarray
    core: np.ndarray
    levels: np.ndarray
    geometry: Geometry
    coarse_levels: np.ndarray
    image_geometry: Geometry
    offsets_mm: np.ndarray | None = None
    view: FieldOfView | None = None

    def scaled(self, factor: float) -> VoxelPredictions:
        """Return the predictions for an object ``factor`` times as large."""
        offsets_mm = self.offsets_mm
        return replace(
            self,
            geometry=self.geometry.scaled(factor),
            image_geometry=self.image_geometry.scaled(factor),
            offsets_mm=None if offsets_mm is None else offsets_mm * np.float16(factor),
            view=None if self.view is None else self.view.scaled(factor),
        )

    @property
    def field_of_view(self) -> FieldOfView:
        """Field of view of the image."""
        return self.view or FieldOfView.of_grid(self.image_geometry)
