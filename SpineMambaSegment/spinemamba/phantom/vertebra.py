"""C3 to L6: body, pedicles, laminae, processes and joints as one signed distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from spinemamba.phantom.body import body_distance
from spinemamba.phantom.curve import Placed
from spinemamba.phantom.joints import Joint, joint_below
from spinemamba.phantom.parameters import Shape
from spinemamba.phantom.sdf import Distance, Field, capsule_box, plate, smooth_min

SIDES = (1.0, -1.0)


@dataclass(frozen=True)
class Arch:
    """Parameters of the arch in the cervical, thoracic or lumbar spine; lengths in mm.

    Attributes:
        lamina: Half thickness, half height, Z of its centre.
        shingle: How far its lower edge lies behind its upper, per mm of height.
        pedicle_z: Z of the pedicle, in shares of the body's height.
        spinous: Half width, and half height at root and tip.
        transverse: Radius at root and tip, and stretch along Z.
        sweep: How far the transverse process leads backwards and up, per mm sideways.
        narrowing: Share by which the canal is narrower at its back than in its middle.
    """

    lamina: tuple[float, float, float]
    shingle: float
    pedicle_z: float
    spinous: tuple[float, float, float]
    transverse: tuple[float, float, float]
    sweep: tuple[float, float]
    narrowing: float


_CERVICAL = Arch((2.7, 6.0, -1.5), 0.35, 0.05, (2.6, 4.2, 3.4), (3.0, 3.0, 1.0), (-0.1, -0.1), 0.3)
_THORACIC = Arch((3.4, 10.5, -4.0), 0.28, 0.22, (3.3, 6.8, 5.3), (4.6, 5.0, 1.1), (0.62, 0.1), 0.1)
_LUMBAR = Arch((3.8, 10.0, -5.0), 0.22, 0.2, (3.9, 9.8, 10.8), (4.4, 3.3, 1.45), (0.16, 0.08), 0.35)


def arch_of(name: str) -> Arch:
    """Return the parameters of the arch of a level."""
    if name[0] == "C" and name != "C7":
        return _CERVICAL
    if name[0] == "L" or name in ("T12", "T13"):
        return _LUMBAR
    return _THORACIC


def build(field: Field, placed: Placed, above: str | None, gap_mm: float) -> None:
    """Add a vertebra to an empty field.

    Args:
        field: In the vertebra's frame.
        placed: Which vertebra.
        above: Name of the level above; its lower joints meet this vertebra's upper ones;
            None leaves these out.
        gap_mm: Width of the facet joints.
    """
    for piece in pieces(placed, above, gap_mm):
        piece.add(field)
    _open_canal(field, placed.shape, arch_of(placed.name))


@dataclass(frozen=True)
class Piece:
    """A solid of which a vertebra is drawn.

    Attributes:
        name: "body", "pedicle", "transverse", "superior", "inferior", "lamina" or "spinous".
        side: 1 left, -1 right, 0 on the midline.
        add: Unites a field in the vertebra's frame with it.
    """

    name: str
    side: float
    add: Callable[[Field], None]


def pieces(placed: Placed, above: str | None, gap_mm: float) -> list[Piece]:
    """Return the solids of a vertebra in the order in which they are united; see `build`."""
    shape, arch = placed.shape, arch_of(placed.name)
    unit = shape.width / 40.0 if placed.name[0] == "L" else 1.0
    lower = joint_below(placed.name, shape)
    out = [Piece("body", 0.0, partial(_add_body, placed=placed))]
    of = {"placed": placed, "arch": arch}
    for side in SIDES:
        out += [
            Piece("pedicle", side, partial(_add_pedicle, shape=shape, arch=arch, side=side)),
            Piece("transverse", side, partial(_add_transverse, **of, side=side)),
        ]
        joints = {"inferior": (lower, -1.0)}
        if above:
            joints = {"superior": (joint_below(above, shape), 1.0), **joints}
        for name, (joint, end) in joints.items():
            add = partial(_add_joint, placed=placed, joint=joint, where=(side, end), gap_mm=gap_mm)
            out.append(Piece(name, side, add))
        out.append(Piece("lamina", side, partial(_add_lamina, shape=shape, arch=arch, side=side)))
    out.append(Piece("spinous", 0.0, partial(_add_spinous, placed=placed, arch=arch, unit=unit)))
    return out


def _add_body(field: Field, placed: Placed) -> None:
    """Unite with the body."""
    shape = placed.shape
    half_width = shape.width / 2 + 4
    field.add(
        (-half_width, -shape.wall - 3, -shape.height / 2 - 5),
        (half_width, shape.wall + 3, shape.height / 2 + 5),
        body_distance(placed),
    )


def _add_pedicle(field: Field, shape: Shape, arch: Arch, side: float) -> None:
    """Unite with the pedicle of one side."""
    x = side * (shape.canal_width / 2 + shape.pedicle_width / 2 - 0.3)
    z = pedicle_z(shape, arch)
    root_x = side * min(abs(x), 0.62 * shape.width / 2 + shape.pedicle_width * 0.2)
    stretch = (1.0, 1.0, shape.pedicle_height / shape.pedicle_width)
    radius = shape.pedicle_width / 2
    ends = (root_x, shape.wall - 4.0, z), (x, shape.canal_y + 0.28 * shape.canal_depth, z - 0.5)
    field.add_capsule(ends, (radius, radius), stretch, 2.5)


def pedicle_z(shape: Shape, arch: Arch) -> float:
    """Return Z of the pedicles: below the upper endplate."""
    return min(arch.pedicle_z * shape.height, shape.height / 2 - shape.pedicle_height / 2 + 0.5)


def _add_transverse(field: Field, placed: Placed, arch: Arch, side: float) -> None:
    shape = placed.shape
    first, last, tall = arch.transverse
    if placed.name == "C2":
        root = side * (shape.canal_width / 2 + 3.0), shape.wall + 1.0, 0.0
        tip = side * (shape.span / 2 - 3.0), shape.wall + 2.0, -4.0
        field.add_capsule((root, tip), (3.4, 2.8))
        return
    if arch is _CERVICAL:
        _add_neck_transverse(field, shape, side)
        return
    if placed.name in ("T11", "T12", "T13"):
        first, last = 4.2, 3.6
    elif placed.name == "C7":
        first, last = 3.8, 3.2
    elif placed.name in ("L5", "L6"):
        first, last = 6.0, 4.0
    root_x = shape.canal_width / 2 + 0.5 * shape.pedicle_width
    tip_x = shape.span / 2 - last
    y = shape.canal_y + 0.3 * shape.canal_depth
    z = pedicle_z(shape, arch) - 2.0
    length = max(tip_x - root_x, 1.0)
    tip = side * tip_x, y + arch.sweep[0] * length, z + arch.sweep[1] * length
    field.add_capsule(((side * root_x, y, z), tip), (first, last), (1, 1, tall), 2.5)


def _add_neck_transverse(field: Field, shape: Shape, side: float) -> None:
    """Unite with two bars around the transverse foramen, with a tubercle at each end."""
    root, tip = shape.width / 2 - 1.0, shape.span / 2 - 2.8
    y = shape.wall - 4.5
    front = (side * root, y, -0.5), (side * (tip - 1.5), y - 0.5, -2.5)
    back = (side * (root + 7.0), y + 8.5, -0.5), (side * tip, y + 4.5, -3.0)
    bridge = (side * (tip - 1.5), y - 0.5, -2.5), (side * tip, y + 4.5, -3.0)
    for ends in (front, back, bridge):
        field.add_capsule(ends, (2.5, 2.5), (1.0, 1.0, 1.5), 1.5)
    hole = side * (root + 4.6), y + 3.6
    field.cut_capsule(((*hole, -9.0), (*hole, 7.0)), (2.1, 2.1))


def _add_joint(
    field: Field, placed: Placed, joint: Joint, where: tuple[float, float], gap_mm: float
) -> None:
    """Unite with an articular process; ``where`` is the side, and 1 for superior, -1 inferior."""
    side, end = where
    shape, arch = placed.shape, arch_of(placed.name)
    axes = joint.axes(side)
    height = shape.height / 2 + shape.disc / 2
    middle = np.array([side * joint.x, joint.y, end * (height - 0.5) - 0.5])
    centre = middle + end * axes[0] * (joint.half[0] + gap_mm / 2)
    field.add(*plate(tuple(centre), joint.half, axes, 1.8), 2.0)
    lamina_z = arch.lamina[2]
    x = side * (shape.canal_width / 2 + (3.4 if end > 0 else 1.5))
    y = shape.canal_y + (0.3 if end > 0 else 0.62) * shape.canal_depth
    foot = (x, y, pedicle_z(shape, arch) if end > 0 else lamina_z)
    if arch is _CERVICAL:
        foot = (side * joint.x, joint.y, 0.0)
    thick = 1.3 * joint.half[0]
    field.add_capsule((tuple(centre), foot), (thick, thick * 1.1), (1.2, 1, 1.2), 2.5)


def _add_lamina(field: Field, shape: Shape, arch: Arch, side: float) -> None:
    thick, half, z = arch.lamina
    half = min(half, 0.47 * shape.height) if arch is not _CERVICAL else half
    back = shape.canal_y + shape.canal_depth / 2 + thick
    start = np.array(
        [side * (shape.canal_width / 2 + 2.2), shape.canal_y + 0.2 * shape.canal_depth]
    )
    stop = np.array([0.0, back + 0.8])
    along = (stop - start) / np.linalg.norm(stop - start)
    lean = np.array([0.0, -arch.shingle, 1.0])
    first = np.array([along[0], along[1], 0.0])
    normal = np.cross(first, lean)
    normal /= np.linalg.norm(normal)
    axes = np.stack([first, normal, np.cross(normal, first)])
    middle = (start + stop) / 2
    length = float(np.linalg.norm(stop - start)) / 2 + 1.0
    block = plate((middle[0], middle[1], z), (length, thick, half), axes, min(thick, 2.2))
    field.add(*block, 2.5)


def _add_spinous(field: Field, placed: Placed, arch: Arch, unit: float) -> None:
    shape = placed.shape
    wide, root_half, tip_half = arch.spinous
    wide, root_half, tip_half = wide * unit**0.5, root_half * unit, tip_half * unit
    if placed.name in ("L5", "L6"):
        tip_half *= 0.75
    if placed.name in ("T12", "T13", "T11"):
        root_half, tip_half = 7.0, 6.5
    root = (0.0, shape.canal_y + shape.canal_depth / 2 + 2.0, arch.lamina[2] - 1.0)
    tip = (0.0, shape.tip_y - tip_half * 0.8, shape.tip_z)
    blade = _blade(root, tip, (root_half, tip_half), wide)
    low, high = capsule_box((root, tip), (root_half, tip_half), (1, 1, 1))
    field.add(low, high, blade, 2.5)
    if arch is _CERVICAL:
        for side in SIDES:
            end = (side * 5.0, shape.tip_y - 2.0, shape.tip_z - 1.5)
            field.add_capsule((tip, end), (2.6, 2.3))
    else:
        knob = (0.0, tip[1] + tip_half * 0.4, tip[2])
        field.add_capsule((tip, knob), (wide + 0.9, wide + 0.7), (1, 1, tip_half / (wide + 1)))


def _blade(
    root: tuple[float, ...], tip: tuple[float, ...], half: tuple[float, float], wide: float
) -> Distance:
    """Return the distance to a vertical plate whose height changes towards its tip."""
    along = np.array([tip[1] - root[1], tip[2] - root[2]])
    unit = along / (along @ along)

    def distance(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        dy, dz = y - np.float32(root[1]), z - np.float32(root[2])
        t = np.clip(dy * np.float32(unit[0]) + dz * np.float32(unit[1]), 0, 1)
        flat = np.sqrt((dy - t * np.float32(along[0])) ** 2 + (dz - t * np.float32(along[1])) ** 2)
        flat = flat - (np.float32(half[0]) + t * np.float32(half[1] - half[0]))
        return -smooth_min(-flat, np.float32(wide) - np.abs(x), 2.0)

    return distance


def _open_canal(field: Field, shape: Shape, arch: Arch) -> None:
    """Subtract the spinal canal, round anteriorly and narrower posteriorly."""
    half = shape.canal_width / 2, shape.canal_depth / 2
    tall = shape.height / 2 + 14.0

    def distance(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        v = (y - np.float32(shape.canal_y)) / np.float32(half[1])
        width = np.float32(half[0]) * (1 - np.float32(arch.narrowing) * np.clip(v, 0, 1))
        round_ = (np.sqrt((x / width) ** 2 + v * v) - 1) * np.float32(min(half))
        return np.maximum(round_, np.abs(z) - np.float32(tall))

    low = (-half[0], shape.canal_y - half[1], -tall)
    field.cut(low, (half[0], shape.canal_y + half[1], tall), distance)
