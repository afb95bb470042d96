"""Which way a vertebra looks: the plane that halves it into mirror images."""

from __future__ import annotations

import numpy as np

from spinemamba.measure.frame import Frame, Patch

COARSE = np.radians(np.arange(-40.0, 41.0, 10.0))
FINE = np.radians(np.arange(-6.0, 7.0, 3.0))
"""Turns about the axis up that are tried; between them the best is interpolated."""


def mirror_axis(patch: Patch, frame: Frame) -> np.ndarray:
    """Return the posterior direction in LPS: of the halving plane through the frame's centre.

    The whole vertebra takes part: its processes are long levers, and neither the width of a body
    nor the shape of a single process matters. Voxels whose image is not shown count nowhere.
    """
    points = frame.to_local(patch.points_lps_mm)
    angle = 0.0
    for turns in (COARSE, FINE):
        likeness = [_likeness(patch, frame, points, angle + turn) for turn in turns]
        angle += _peak(turns, likeness)
    return np.array([-np.sin(angle), np.cos(angle), 0.0]) @ frame.axes_lps


def _peak(turns: np.ndarray, likeness: list[float]) -> float:
    """Return where the likeness is greatest, interpolated between three turns."""
    k = int(np.argmax(likeness))
    if not 0 < k < len(turns) - 1:
        return float(turns[k])
    before, best, after = likeness[k - 1 : k + 2]
    bend = before - 2 * best + after
    shift = (before - after) / (2 * bend) if bend < 0 else 0.0
    return float(turns[k] + shift * (turns[1] - turns[0]))


def _likeness(patch: Patch, frame: Frame, points: np.ndarray, angle: float) -> float:
    """Return the share of points whose mirror image is in the vertebra, too."""
    across = np.array([np.cos(angle), np.sin(angle), 0.0])
    mirrored = frame.to_lps(points - 2 * (points @ across)[:, None] * across)
    shown = patch.shows(mirrored)
    return float(patch.share(mirrored[shown]).mean()) if shown.any() else 0.0
