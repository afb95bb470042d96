"""Discs: the space between the endplates of two neighbouring bodies."""

from __future__ import annotations

import numpy as np

from spinemamba.imaging.volume import Box, Geometry, Volume
from spinemamba.measure.frame import Frame, unit
from spinemamba.measure.vertebra import Vertebra

_ROUND = 2.5
"""Exponent of the superellipse of the rim."""

_RIM = 0.95
"""Size of the rim relative to the mean of both bodies."""

_MARGIN_MM = 4.0
"""How far a disc may reach into the concavity of an endplate, beyond its plane."""

_LEAST_GAP_MM = 0.5


def disc_voxels(labels: Volume, upper: Vertebra, lower: Vertebra) -> tuple[Box, np.ndarray] | None:
    """Return the voxels of the disc between two neighbours.

    Args:
        labels: Label image; voxels of any vertebra do not belong to a disc.
        upper: The upper vertebra; has a lower endplate.
        lower: The lower vertebra; has an upper endplate.

    Returns:
        Box in the label image and mask in this box; None if the endplates meet.
    """
    roof, floor = upper.body.plates[-1], lower.body.plates[1]
    up = unit(roof.normal_lps + floor.normal_lps)
    centre = (roof.centre_lps_mm + floor.centre_lps_mm) / 2
    gap_mm = float((roof.centre_lps_mm - floor.centre_lps_mm) @ up)
    if gap_mm < _LEAST_GAP_MM:
        return None
    back = upper.body.frame.posterior + lower.body.frame.posterior
    frame = Frame.along(centre, up, back)
    half = _RIM * np.array(
        [_mean(upper, lower, "half_width_mm"), _mean(upper, lower, "half_depth_mm")]
    )
    reach = gap_mm + _MARGIN_MM + np.abs(half).sum() * 0.2
    box, places = _around(labels.geometry, frame, (*half, reach))
    if box is None:
        return None
    inside = (np.abs(places[..., :2] / half) ** _ROUND).sum(axis=-1) <= 1
    inside &= labels.array[box] == 0
    inside &= _between(upper, lower, frame, places)
    return (box, inside) if inside.any() else None


def _mean(upper: Vertebra, lower: Vertebra, name: str) -> float:
    return (getattr(upper.body.extent, name) + getattr(lower.body.extent, name)) / 2


def _between(upper: Vertebra, lower: Vertebra, frame: Frame, places_mm: np.ndarray) -> np.ndarray:
    """Return which places are below the upper body and above the lower one."""
    points = frame.to_lps(places_mm)
    sides = []
    for vertebra, sign in ((upper, -1), (lower, 1)):
        local = vertebra.body.frame.to_local(points)
        beyond = sign * (
            local[..., 2] - vertebra.body.plates[sign].plane.height_mm(local[..., 0], local[..., 1])
        )
        sides.append(beyond > -_MARGIN_MM)
    return sides[0] & sides[1]


def _around(
    grid: Geometry, frame: Frame, half_mm: tuple[float, float, float]
) -> tuple[Box | None, np.ndarray]:
    """Return the voxels around a frame: their box, and their centres in the frame, (z, y, x, 3)."""
    corners = np.array(np.meshgrid(*[(-r, r) for r in half_mm])).reshape(3, -1).T
    index = grid.to_index_zyx(frame.to_lps(corners))
    low = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, grid.shape)
    if (low >= high).any():
        return None, np.zeros((0, 3))
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    axes = np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij")
    return box, frame.to_local(grid.to_lps_mm(np.stack(axes, axis=-1)))
