"""The smallest section of a pedicle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SLAB_MM = 0.75
"""Half the thickness of a section, and the distance of sections."""

_ASIDE_MM, _ABOVE_MM = 5.0, 3.0
"""How far a pedicle may reach beside and above the body."""

_LEAST_VOXELS = 4


@dataclass(frozen=True)
class Section:
    """A section of a pedicle across the posterior axis.

    Attributes:
        centre_mm: Centre, (3,).
        half_width_mm: Half the width of an ellipse with the same variance.
        half_height_mm: Half its height.
    """

    centre_mm: np.ndarray
    half_width_mm: float
    half_height_mm: float

    @property
    def area_mm2(self) -> float:
        """Area of that ellipse."""
        return float(np.pi * self.half_width_mm * self.half_height_mm)


def smallest_section(
    points_mm: np.ndarray,
    depth_mm: tuple[float, float],
    half_size_mm: tuple[float, float],
) -> Section | None:
    """Return the smallest section of a pedicle; None if there is no pedicle.

    Args:
        points_mm: Voxels of one side in the frame of the body, mirrored to the left, (n, 3).
        depth_mm: Y of the posterior wall of the body and of the middle of the canal.
        half_size_mm: Half the width and height of the body.
    """
    x, y, z = points_mm.T
    half_width_mm, half_height_mm = half_size_mm
    beside = x < half_width_mm + _ASIDE_MM
    beside &= (z > -half_height_mm) & (z < half_height_mm + _ABOVE_MM)
    smallest: np.ndarray | None = None
    for depth in np.arange(depth_mm[0] + 1.0, depth_mm[1] + 0.1, _SLAB_MM):
        section = points_mm[beside & (np.abs(y - depth) < _SLAB_MM)]
        if len(section) >= _LEAST_VOXELS and (smallest is None or len(section) < len(smallest)):
            smallest = section
    if smallest is None:
        return None
    # The half axis of a full ellipse is twice the standard deviation along it.
    spread = 2 * smallest.std(axis=0)
    return Section(smallest.mean(axis=0), float(spread[0]), float(spread[2]))
