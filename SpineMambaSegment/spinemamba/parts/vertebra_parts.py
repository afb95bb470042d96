"""The parts of one vertebra: label image, landmarks and pedicles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spinemamba.anatomy.parts import UNDIVIDED, Part
from spinemamba.imaging.volume import Box, Volume
from spinemamba.measure.frame import Frame
from spinemamba.measure.vertebra import Vertebra


@dataclass(frozen=True)
class Pedicle:
    """A pedicle, in the frame of its vertebra: mm along left, posterior and superior.

    Attributes:
        side: "left" or "right".
        front_mm: Point of its axis at the posterior wall of the body, (3,).
        isthmus_mm: Middle of its isthmus, as in a plan, (3,).
        back_mm: Point of its axis at its end, where lamina, transverse and superior articular
            process meet, (3,).
        area_mm2: Area of the isthmus across the axis.
    """

    side: str
    front_mm: np.ndarray
    isthmus_mm: np.ndarray
    back_mm: np.ndarray
    area_mm2: float


@dataclass(frozen=True)
class VertebraParts:
    """A vertebra divided into parts.

    Attributes:
        vertebra: The vertebra; its body is None if it is not divided.
        box: Voxels of ``parts`` in the label image that was divided.
        parts: Values of `anatomy.parts.Part` at the voxels of the vertebra, 0 elsewhere, uint8.
        pedicles: By side; those that `planning` does not report either are left out.
        missing: Reason for each part that the vertebra should have but that is not given.
    """

    vertebra: Vertebra
    box: Box
    parts: Volume
    pedicles: Mapping[str, Pedicle] = field(default_factory=dict)
    missing: Mapping[Part, str] = field(default_factory=dict)

    @property
    def frame(self) -> Frame | None:
        """Frame of the vertebral body: left, posterior, superior; None without a body."""
        return None if self.vertebra.body is None else self.vertebra.body.frame

    @property
    def is_divided(self) -> bool:
        """Whether any voxel has a part of its own."""
        return bool(np.setdiff1d(self.parts.array, (0, UNDIVIDED.value)).size)

    def mask(self, *parts: Part) -> np.ndarray:
        """Return the voxels of some parts, on the grid of ``parts``."""
        return np.isin(self.parts.array, [part.value for part in parts])

    def points_lps_mm(self, *parts: Part) -> np.ndarray:
        """Return the centres of the voxels of some parts in LPS, (n, 3)."""
        return self.parts.geometry.to_lps_mm(np.argwhere(self.mask(*parts)))
