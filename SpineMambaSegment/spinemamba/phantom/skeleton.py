"""Bones other than the spine: ribs, sternum, pelvis, skull, shoulders."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from spinemamba.phantom.canvas import Canvas
from spinemamba.phantom.curve import Placed
from spinemamba.phantom.outline import Outline
from spinemamba.phantom.sdf import Frame, smooth_min
from spinemamba.phantom.tissue import Tissue

_RIB_DROP_MM = (28, 50, 68, 80, 90, 98, 104, 106, 104, 96, 62, 34, 18)
"""Height of the head of each rib above its anterior end, in mm."""

_RIB_END_DEG = (150, 155, 155, 155, 154, 150, 146, 140, 132, 122, 84, 60, 40)
"""Angle at which each rib ends, in degrees: 0 is posterior, 180 anterior."""


_FACE: tuple[tuple[tuple[tuple[float, float, float], ...], float, float], ...] = (
    (((17, 1, 12), (16, -2, 22)), 7.0, 1.0),
    (((48, -22, 20), (46, -30, -18), (36, -58, -34), (8, -84, -40)), 6.0, 1.7),
    (((25, -50, 5), (20, -75, 8)), 10.0, 1.0),
    (((3, -2, 17), (4, -30, 44)), 6.5, 1.0),
    (((14, -14, 30), (38, 4, 34), (58, 16, 36)), 8.5, 1.0),
    (((56, 14, 30), (52, 8, 2)), 9.0, 1.0),
)
"""Occipital condyle, lower jaw, upper jaw, clivus, petrous bone, mastoid: points from C1's centre,
radius, stretch along z."""

_TEETH = ((26, -52, -16), (18, -74, -18), (0, -84, -18))


def paint_skeleton(
    canvas: Canvas, chain: list[Placed], outline: Outline, present: set[str]
) -> None:
    """Paint all bones except the spine; ribs only at existing vertebrae."""
    scale = outline.scale
    for placed in chain:
        if placed.name[0] == "T":
            for side in (1.0, -1.0):
                if placed.name in present:
                    _paint_rib(canvas, placed, outline, side)
    by_name = {p.name: p for p in chain}
    _paint_sternum(canvas, by_name, outline)
    _paint_shoulders(canvas, by_name, outline)
    if "Sacrum" in present:
        _paint_pelvis(canvas, by_name["Sacrum"], scale)
    if "C1" in present:
        _paint_skull(canvas, by_name["C1"], scale)


def _paint_rib(canvas: Canvas, placed: Placed, outline: Outline, side: float) -> None:
    number = int(placed.name[1:]) - 1
    shape = placed.shape
    head = (side * (shape.width / 2 + 2.0), shape.wall - 1.5, shape.height / 2 + 0.5)
    tip_y = shape.canal_y + 0.3 * shape.canal_depth + 0.62 * (shape.span - shape.canal_width) / 2
    neck = (side * (shape.span / 2 - 1), tip_y - 7.5, 1.5)
    start = placed.frame.to_world([head, neck])
    cx, cy, _, _ = outline.at(start[1, 2])
    first = np.arctan2(side * (start[1, 0] - cx), start[1, 1] - cy) + 0.16
    last = np.radians(_RIB_END_DEG[number])
    angles = np.linspace(first, last, 12) if last > first + 0.2 else np.array([first + 0.2])
    share = (angles - first) / max(np.radians(150) - first, 0.5)
    heights = start[1, 2] - 6 - _RIB_DROP_MM[number] * outline.scale * share**0.8
    depth = outline.fat_mm + 9.0
    course = [
        outline.inner(z, np.array([side * a]), depth)[0]
        for z, a in zip(heights, angles, strict=True)
    ]
    points = np.concatenate([start, course])
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    line = CubicSpline(along, points)(np.arange(0, along[-1], 6.0))
    for inset, tissue in ((0.0, Tissue.RIB), (max(1.2, 0.75 * canvas.voxel_mm), Tissue.MARROW)):
        canvas.tube(line, (3.6 * outline.scale - inset), tissue, stretch=(1.0, 1.0, 1.7))


def _paint_sternum(canvas: Canvas, by_name: dict[str, Placed], outline: Outline) -> None:
    top = by_name["T3"].frame.origin[2]
    bottom = by_name["T9"].frame.origin[2]
    heights = np.arange(bottom, top, 5.0)
    line = np.array([outline.inner(z, np.array([np.pi]), outline.fat_mm + 8)[0] for z in heights])
    if len(line) > 1:
        for inset, tissue in ((0.0, Tissue.STERNUM), (1.6, Tissue.MARROW)):
            canvas.tube(line, 5.5 * outline.scale - inset, tissue, stretch=(3.0, 1.0, 1.0))


def _paint_shoulders(canvas: Canvas, by_name: dict[str, Placed], outline: Outline) -> None:
    """Paint clavicles, scapulae and the heads of the humeri."""
    scale = outline.scale
    z = by_name["T2"].frame.origin[2]
    for side in (1.0, -1.0):
        x, y, w, _ = outline.at(z)
        near = outline.inner(by_name["T3"].frame.origin[2], np.array([np.pi]), 16)[0]
        near = near + np.array([side * 22 * scale, 0, 8])
        joint = np.array([x + side * (w - 40 * scale), y + 5, z])
        deltoid = np.array([joint, joint - np.array([0, 0, 25 * scale])])
        canvas.tube(deltoid, 40 * scale, Tissue.MUSCLE, over=(Tissue.AIR, Tissue.SKIN, Tissue.FAT))
        line = np.linspace(near, joint + np.array([0, 0, 14]), 16)
        line[:, 1] += np.sin(np.linspace(0, np.pi, 16)) * 12 * scale
        for inset, tissue in ((0.0, Tissue.SHOULDER), (1.6, Tissue.MARROW)):
            canvas.tube(line, 6.0 * scale - inset, tissue)
            canvas.tube(
                np.array([joint, joint + np.array([side * 2, 0, -4])]), 22 * scale - inset, tissue
            )
        _paint_blade(canvas, by_name, outline, side)


def _paint_blade(canvas: Canvas, by_name: dict[str, Placed], outline: Outline, side: float) -> None:
    high = by_name["T2"].frame.origin[2]
    low = by_name["T7"].frame.origin[2]
    for z in np.arange(low, high, 4.0):
        share = (z - low) / (high - low)
        angles = np.linspace(0.75, 0.8 + 0.55 * share, 7) * side
        line = outline.inner(float(z), angles, outline.fat_mm + 4.0)
        canvas.tube(line, 2.3 + 1.5 * share, Tissue.SHOULDER)


def _paint_pelvis(canvas: Canvas, sacrum: Placed, scale: float) -> None:
    """Paint the iliac wings as parts of a shell, with hips, femurs and pubis below."""
    origin = sacrum.frame.origin
    for side in (1.0, -1.0):
        frame = Frame(origin, np.array([[side, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]))
        box = ((30 * scale, -110 * scale, -75 * scale), (155 * scale, 60 * scale, 60 * scale))
        field = canvas.field(frame, *box)
        if field is not None:
            x, y, z = (c / np.float32(scale) for c in field.coordinates)
            field.distance = _wing(x, y, z) * np.float32(scale)
            canvas.paint_bone(field, Tissue.PELVIS, 1.6)
        hip = origin + np.array([side * 86, -55, -95]) * scale
        ischium = origin + np.array([side * 62, -25, -150]) * scale
        pubis = origin + np.array([side * 10, -100, -130]) * scale
        shaft = origin + np.array([side * 135, -45, -210]) * scale
        neck = origin + np.array([side * 125, -45, -115]) * scale
        roof = origin + np.array([side * 78, -45, -62]) * scale
        for inset, tissue in ((0.0, Tissue.PELVIS), (2.0, Tissue.MARROW)):
            for ends, radius in (
                ((roof, hip), 20),
                ((hip, hip + 1), 33),
                ((hip, ischium), 15),
                ((hip, pubis), 9),
                ((ischium, pubis), 8),
            ):
                canvas.tube(np.array(ends), (radius * scale - inset), tissue)
        canvas.tube(np.array([hip, hip + 1]), 27 * scale, Tissue.CARTILAGE)
        for inset, tissue in ((0.0, Tissue.PELVIS), (2.5, Tissue.MARROW)):
            canvas.tube(np.array([hip, hip + 1]), 25 * scale - inset, tissue)
            canvas.tube(np.array([hip, neck]), 15 * scale - inset, tissue)
            canvas.tube(np.array([neck, shaft]), 15 * scale - inset, tissue)


def _wing(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the distance to one iliac wing, in mm from the centre of S1 in an average adult."""
    # From behind the sacrum along its wing, then curving laterally, more so superiorly.
    ahead = np.maximum(8 - y, 0)
    flare = 51 + 82 * (1 - np.exp(-ahead / 62)) - 0.22 * np.maximum(y - 8, 0)
    flare = flare + np.where(z > -20, 0.28, 0.12) * (z + 20)
    rim = 50 - 0.009 * (y + 30) ** 2
    thick = 4.2 + 3.6 * np.exp(-(((y - 12) / 22) ** 2)) + 3.0 * np.exp(-(((z - rim + 4) / 9) ** 2))
    plate = (np.abs(x - flare) - thick) * np.float32(0.8)
    notch = -(z + 62) + 1.5 * np.maximum(y - 5, 0)
    edges = np.maximum.reduce([z - rim, -(y + 92), y - 46, notch])
    return -smooth_min(-plate, -edges, 5.0)


def _paint_skull(canvas: Canvas, atlas: Placed, scale: float) -> None:
    """Paint the neurocranium with the foramen magnum, then skull base and face."""
    frame = Frame(atlas.frame.origin, np.eye(3))
    half = np.array([74.0, 90.0, 80.0]) * scale
    field = canvas.field(frame.moved((0, -4 * scale, 92 * scale)), tuple(-half), tuple(half))
    if field is not None:
        ratio = sum((v / np.float32(h)) ** 2 for v, h in zip(field.coordinates, half, strict=True))
        distance = (np.sqrt(ratio) - 1) * np.float32(half[0])
        field.distance = distance
        canvas.paint_bone(field, Tissue.SKULL, 2.2)
        field.distance = distance + np.float32(6.0)
        canvas.paint(field, Tissue.BRAIN)
        x, y, _ = field.coordinates
        hole = np.sqrt(x * x + (y - 16 * scale) ** 2) - 15 * scale
        field.distance = np.maximum(hole, field.coordinates[2])
        canvas.paint(field, Tissue.CANAL, (Tissue.SKULL, Tissue.MARROW))
    for side in (1.0, -1.0):
        _paint_base_and_face(canvas, frame, side, scale)


def _paint_base_and_face(canvas: Canvas, frame: Frame, side: float, scale: float) -> None:
    size = np.array([side, 1.0, 1.0]) * scale
    for inset, tissue in ((0.0, Tissue.SKULL), (2.0, Tissue.MARROW)):
        for points, radius, tall in _FACE:
            line = frame.to_world(np.array(points) * size)
            canvas.tube(line, radius * scale - inset, tissue, stretch=(1, 1, tall))
    teeth = frame.to_world(np.array(_TEETH) * size)
    canvas.tube(teeth, 4.5 * scale, Tissue.SKULL, stretch=(1, 1, 2.0))
