"""What the networks say about the voxels around the spine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.imaging.truncation import FieldOfView
from spinemamba.imaging.volume import Geometry


@dataclass(frozen=True)
class Evidence:
    """Probabilities on one grid in canonical orientation.

    Attributes:
        bone: Probability of any vertebra or the sacrum, float32 (z, y, x).
        core: Probability of a body core, float32 (z, y, x): what lies deeper than 45 % of a
            vertebra's greatest depth.
        levels: Probability of each of `NETWORK_LEVELS` given bone, (25, z, y, x).
        geometry: Grid of these arrays; a box of the image at the fine network's spacing.
        coarse_levels: As ``levels``, from the coarse network, which sees more of the patient.
        image_geometry: Grid of the whole image in canonical orientation.
        offsets_mm: From each voxel to the centre of its vertebra's core along z, y, x, float16
            (3, z, y, x); None if the fine network does not say.
        view: Where the image holds data; None if that is everywhere.
    """

    bone: np.ndarray
    core: np.ndarray
    levels: np.ndarray
    geometry: Geometry
    coarse_levels: np.ndarray
    image_geometry: Geometry
    offsets_mm: np.ndarray | None = None
    view: FieldOfView | None = None

    @property
    def field_of_view(self) -> FieldOfView:
        """Where the image holds data."""
        return self.view or FieldOfView.of_grid(self.image_geometry)
