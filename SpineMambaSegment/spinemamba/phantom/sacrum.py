"""The sacrum: five fused vertebrae on an arc, with alae and foramina."""

from __future__ import annotations

import numpy as np

from spinemamba.phantom.curve import Placed
from spinemamba.phantom.joints import Joint, joint_below
from spinemamba.phantom.sdf import Field, Frame, plate, smooth_min
from spinemamba.phantom.vertebra import SIDES

_ARC_MM = 92.0
_LENGTH_MM = 104.0
_ENDS_MM = (0.0, 30.0, 54.0, 74.0, 90.0, 104.0)
"""Positions of the ends of the fused bodies along the arc, from the promontory."""


def along_arc(placed: Placed, s_mm: float) -> Frame:
    """Return the frame at a position on the arc through the centres of the fused bodies."""
    scale = placed.shape.width / 48.0
    radius = _ARC_MM * scale
    angle = s_mm / _ARC_MM
    top = placed.shape.height / 2
    y = -radius * (1 - np.cos(angle))
    z = top - radius * np.sin(angle)
    down = np.array([0.0, -np.sin(angle), -np.cos(angle)])
    back = np.array([0.0, np.cos(angle), -np.sin(angle)])
    axes = np.stack([np.array([1.0, 0, 0]), back, -down])
    return Frame(placed.frame.to_world((0.0, y, z)), axes @ placed.frame.axes)


def build_sacrum(field: Field, placed: Placed, above: str, gap_mm: float) -> None:
    """Add the sacrum to an empty field in the frame of S1.

    Args:
        field: In the frame of S1's body.
        placed: Sizes of S1.
        above: Name of the last lumbar vertebra.
        gap_mm: Width of its facet joints.
    """
    x, y, z = field.coordinates
    shape = placed.shape
    scale = np.float32(shape.width / 48.0)
    radius = np.float32(_ARC_MM) * scale
    top = np.float32(shape.height / 2)
    # s is the position along the arc from the promontory, t the distance posterior of it.
    py, pz = y + radius, top - z
    s = np.arctan2(pz, py) * np.float32(_ARC_MM)
    t = (np.hypot(py, pz) - radius) / scale
    across = np.abs(x) / scale
    distance = _solid(across, s, t)
    distance = np.maximum(distance, -_holes(across, s, t)) * scale
    field.distance[:] = distance
    joint = joint_below(above, shape)
    for side in SIDES:
        _add_joint(field, placed, joint, side, gap_mm)


def _solid(across: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return the distance to bodies, alae and fused arches, without foramina."""
    share = np.clip(s / np.float32(_LENGTH_MM), 0, 1)
    half = _along(s, (0, 30, 54, 74, 90, 104), (24, 17.5, 13, 11, 9, 6))
    deep = _along(s, (0, 30, 54, 74, 90, 104), (16.5, 12.5, 9, 7.5, 6, 4))
    ratio = np.sqrt((across / half) ** 2 + (t / deep) ** 2)
    bodies = (ratio - 1) * deep
    wide = _along(s, (-4, 4, 18, 34, 56, 74, 90, 104), (44, 52, 54, 49, 42, 32, 18, 7))
    thick = _along(s, (0, 20, 40, 70, 104), (13.0, 14.5, 11.5, 7.0, 4.0))
    # The anterior surface of the alae recedes laterally: the sacrum is concave anteriorly.
    middle = _along(s, (0, 30, 60, 104), (6, 5, 4, 1)) + across * np.float32(0.12)
    wing = np.maximum(np.abs(t - middle) - thick, across - wide)
    wing = np.maximum(wing, -(s - 2.0 - np.maximum(across - 24, 0) * 0.18))
    back = _along(s, (0, 30, 60, 104), (35, 30, 21, 8))
    arch = np.maximum(np.abs(t - back * 0.55) - back * 0.45, across - (17 - 9 * share))
    ridge = np.maximum(np.abs(t - back) - (7 - 4 * share), across - 2.5)
    ridge = np.maximum(ridge, np.abs(s - 45) - 40)
    arch = smooth_min(np.maximum(arch, 8 - s), ridge, 4.0)
    bone = smooth_min(smooth_min(bodies, wing, 4.0), arch, 4.0)
    return -smooth_min(-bone, np.minimum(s, np.float32(_LENGTH_MM) - s), 3.0)


def _holes(across: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return the distance to the sacral canal and the four pairs of foramina."""
    share = np.clip(s / np.float32(_LENGTH_MM), 0, 1)
    middle = _along(s, (0, 30, 60, 104), (24.5, 20.5, 13.5, 6))
    canal = np.sqrt((across / (14 - 9 * share)) ** 2 + ((t - middle) / (7.5 - 5 * share)) ** 2)
    holes = (canal - 1) * (7.5 - 5 * share)
    for k, end in enumerate(_ENDS_MM[1:5]):
        x = 20.5 - 2.8 * k
        size = 5.2 - 0.7 * k
        hole = np.sqrt((across - x - 0.25 * (5 - t)) ** 2 + (s - end - 2) ** 2) - size
        holes = np.minimum(holes, hole)
    return holes


def _along(s: np.ndarray, knots: tuple[float, ...], values: tuple[float, ...]) -> np.ndarray:
    return np.interp(s, knots, values).astype(np.float32)


def _add_joint(field: Field, placed: Placed, joint: Joint, side: float, gap_mm: float) -> None:
    """Unite with a superior articular process, which meets the last lumbar vertebra."""
    shape = placed.shape
    axes = joint.axes(side)
    height = shape.height / 2 + 4.5
    centre = np.array([side * joint.x, joint.y, height]) + axes[0] * (joint.half[0] + gap_mm / 2)
    field.add(*plate(tuple(centre), joint.half, axes, 1.8), 2.0)
    foot = (side * (joint.x + 3.0), joint.y - 4.0, height - 20.0)
    field.add_capsule((tuple(centre), foot), (4.5, 6.0), (1.0, 1.0, 1.0), 3.0)
