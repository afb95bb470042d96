"""Which way a vertebra looks: the plane that halves it into mirror images."""

from __future__ import annotations

import numpy as np

from spinemamba.measure.frame import Frame, Patch

ANGLES = np.radians(np.arange(-40.0, 41.0, 4.0))
"""Turns about the axis up that are tried; between them the best is interpolated."""

MOST_POINTS = 3000
AROUND_MM = (60.0, 90.0, 60.0)


def mirror_axis(patch: Patch, frame: Frame) -> np.ndarray:
    """Return the posterior direction in LPS: of the halving plane through the frame's centre.

    The whole vertebra takes part: its processes are long levers, and neither the width of a body
    nor the shape of a single process matters. Voxels whose image is not shown count nowhere.
    """
    places, inside = patch.near(frame, AROUND_MM)
    points = places[inside]
    points = points[:: max(1, len(points) // MOST_POINTS)]
    likeness = [_likeness(patch, frame, points, angle) for angle in ANGLES]
    k = int(np.argmax(likeness))
    angle = float(ANGLES[k])
    if 0 < k < len(ANGLES) - 1:
        before, best, after = likeness[k - 1 : k + 2]
        bend = before - 2 * best + after
        if bend < 0:
            angle += (before - after) / (2 * bend) * float(ANGLES[1] - ANGLES[0])
    return np.array([-np.sin(angle), np.cos(angle), 0.0]) @ frame.axes_lps


def _likeness(patch: Patch, frame: Frame, points: np.ndarray, angle: float) -> float:
    """Return the share of points whose mirror image is in the vertebra, too."""
    across = np.array([np.cos(angle), np.sin(angle), 0.0])
    mirrored = frame.to_lps(points - 2 * (points @ across)[:, None] * across)
    shown = patch.shows(mirrored)
    return float(patch.share(mirrored[shown]).mean()) if shown.any() else 0.0
