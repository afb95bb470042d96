"""Height of the neural foramina: from pedicle to pedicle."""

from __future__ import annotations

import numpy as np

from spinemamba.measure.vertebra import Vertebra

_BEHIND_MM = np.arange(1.5, 5.1, 1.75)
"""Distances behind the posterior wall. Farther behind, articular processes hide the notches."""

_ACROSS_MM = np.arange(4.0, 26.0, 1.0)
_STEP_MM = 0.5
_INNER_MM = 7.0
"""Width of the strip on the inner side of a pedicle in which its margins are searched."""

_BELOW = 1.2
"""Height over which the label is sampled, in half heights of the body."""

_LEAST_COLUMNS = 4
_MIDDLE = 75
"""Percentile of the margins that stands for the deepest point of a notch."""


def foramen_mm(upper: Vertebra, lower: Vertebra, side: int) -> float | None:
    """Return the height of the foramen between two neighbours.

    Args:
        upper: Vertebra above.
        lower: Vertebra below.
        side: 1 for the left, -1 for the right.

    Returns:
        Distance from the lower margin of the upper pedicle to the upper margin of the lower one;
        None if a pedicle is not in its label.
    """
    roof, floor = _margin_lps(upper, side, -1), _margin_lps(lower, side, 1)
    return None if roof is None or floor is None else float(np.linalg.norm(roof - floor))


def _margin_lps(vertebra: Vertebra, side: int, sign: int) -> np.ndarray | None:
    """Return the upper (sign 1) or lower (-1) margin of a pedicle; None if there is none."""
    body = vertebra.body
    if body is None:
        return None
    reach = _BELOW * body.extent.half_height_mm
    heights = np.arange(-reach, reach + _STEP_MM, _STEP_MM)
    across, behind = np.meshgrid(
        side * _ACROSS_MM, body.extent.half_depth_mm + _BEHIND_MM, indexing="ij"
    )
    columns = np.stack([across.ravel(), behind.ravel()], axis=1)
    places = np.concatenate(
        [
            np.repeat(columns[:, None], len(heights), axis=1),
            np.broadcast_to(heights[:, None], (len(columns), len(heights), 1)),
        ],
        axis=2,
    )
    bone = vertebra.patch.share(body.frame.to_lps(places)) >= 0.5
    middle = int(np.argmax(bone.sum(axis=0)))
    filled = bone[:, middle]
    if filled.sum() < _LEAST_COLUMNS:
        return None
    inner = np.abs(columns[filled, 0]).min()
    chosen = np.flatnonzero(filled & (np.abs(columns[:, 0]) <= inner + _INNER_MM))
    # Number of steps from the middle of the pedicle to the first voxel outside.
    run = bone[chosen][:, middle::sign]
    ends = np.where(run.all(axis=1), run.shape[1], np.argmin(run, axis=1)) - 0.5
    margins = heights[middle] + sign * _STEP_MM * ends
    height = float(np.percentile(margins, _MIDDLE if sign < 0 else 100 - _MIDDLE))
    place = np.array([*columns[chosen].mean(axis=0), height])
    return body.frame.to_lps(place)
