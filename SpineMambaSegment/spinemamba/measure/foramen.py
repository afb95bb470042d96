"""Height of the neural foramina: from pedicle to pedicle.

A margin of a pedicle is where the share of bone in a strip through the pedicle falls to half. A
share changes by little if an outline does, unlike the first voxel outside along a line.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from spinemamba.measure.body import Body
from spinemamba.measure.vertebra import Vertebra

_BEHIND_MM = np.arange(2.5, 6.1, 0.875)
"""Distances behind the posterior wall. Nearer, the rims of the body cover the notches; farther
behind, articular processes do."""

_STEP_MM = 0.5
_ACROSS_MM = np.arange(3.0, 26.0, _STEP_MM)
_STRIP_MM = 7.0
"""Width of the strip on the inner side of a pedicle in which its margins are searched."""

_REACH = 1.2
"""Height over which the label is sampled, in half heights of the body."""

_HALF = 0.5
_TOP = 0.8
"""Heights with at least this share of the most bone are those of the pedicle's middle."""

_AROUND_MM = 1.5
"""Standard deviation of the filter over heights, and half the height of the pedicle's middle."""

_LEAST_SHARE = 0.25
"""Smallest share of bone in the strip through the middle of a pedicle."""


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
    heights, bone = _sampled(vertebra, body, side)
    middle = _middle(bone.mean(axis=0))
    if middle is None:
        return None
    reach = round(_AROUND_MM / _STEP_MM)
    across = bone[:, max(0, middle - reach) : middle + reach + 1].mean(axis=1)
    inner = _ACROSS_MM[0] + _STEP_MM * _crossing(-across, -_HALF * across.max())
    strip = np.abs(_ACROSS_MM - inner - _STRIP_MM / 2) <= _STRIP_MM / 2
    shares = bone[strip].mean(axis=0)[middle::sign]
    if shares[0] < _LEAST_SHARE:
        return None
    height = heights[middle] + sign * _STEP_MM * _crossing(shares, _HALF * shares[0])
    behind = body.extent.half_depth_mm + float(_BEHIND_MM.mean())
    return body.frame.to_lps(np.array([side * (inner + _STRIP_MM / 2), behind, height]))


def _sampled(vertebra: Vertebra, body: Body, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return heights in the body's frame, and the share of bone by place across and height."""
    reach = _REACH * body.extent.half_height_mm
    heights = np.arange(-reach, reach + _STEP_MM, _STEP_MM)
    behind = body.extent.half_depth_mm + _BEHIND_MM
    places = np.stack(np.meshgrid(side * _ACROSS_MM, behind, heights, indexing="ij"), axis=-1)
    return heights, vertebra.patch.share(body.frame.to_lps(places)).mean(axis=1)


def _middle(shares: np.ndarray) -> int | None:
    """Return the index of the middle of the pedicle, from the share of bone at each height."""
    smooth = ndimage.gaussian_filter1d(shares, _AROUND_MM / _STEP_MM)
    if smooth.max() <= 0:
        return None
    parts, _ = ndimage.label(smooth >= _TOP * smooth.max())
    inside = np.flatnonzero(parts == parts[np.argmax(smooth)])
    return round(float(np.average(inside, weights=smooth[inside])))


def _crossing(values: np.ndarray, goal: float) -> float:
    """Return the interpolated index at which values first fall below a goal; the last if never."""
    below = np.flatnonzero(values < goal)
    if not len(below):
        return float(len(values) - 1)
    first = int(below[0])
    if first == 0:
        return 0.0
    return first - (goal - values[first]) / (values[first - 1] - values[first])
