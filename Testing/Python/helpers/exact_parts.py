"""Parts of phantoms from the solids they are drawn with, and scores of parts.

A phantom's vertebra is a union of solids: body, pedicles, laminae and processes. A voxel in a solid
belongs to its part, if it is far from all others. Where solids overlap or meet, as at the root of a
process, the construction does not say where the border is. There the convention of TPTBox's
sub-regions decides between these solids, which is that of `parts.divide` about landmarks that
follow from the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from spinemamba.anatomy import parts as anatomy
from spinemamba.anatomy.labels import BY_NAME
from spinemamba.anatomy.parts import Part
from spinemamba.parts.divide import divide
from spinemamba.parts.landmarks import NECK, ArchSide, Lamina, Landmarks, PedicleAxis
from spinemamba.phantom import Phantom
from spinemamba.phantom.body import body_distance
from spinemamba.phantom.curve import Placed
from spinemamba.phantom.joints import joint_below
from spinemamba.phantom.sdf import Distance, capsule
from spinemamba.phantom.vertebra import arch_of, pedicle_z, pieces

GROUPS: dict[str, tuple[Part, ...]] = {
    "body": (anatomy.BODY, *anatomy.ENDPLATES.values()),
    "arch": (*anatomy.PEDICLES, *anatomy.LAMINAE),
    "spinous": (anatomy.SPINOUS,),
    "transverse left": anatomy.TRANSVERSE[:1],
    "transverse right": anatomy.TRANSVERSE[1:],
    "superior left": anatomy.SUPERIOR[:1],
    "superior right": anatomy.SUPERIOR[1:],
    "inferior left": anatomy.INFERIOR[:1],
    "inferior right": anatomy.INFERIOR[1:],
}
"""Parts that SPINEPS and TPTBox label: pedicles and laminae together are their arch."""

TPTBOX: dict[str, tuple[int, ...]] = {
    "body": (49, 50),
    "arch": (41,),
    "spinous": (42,),
    "transverse left": (43,),
    "transverse right": (44,),
    "superior left": (45,),
    "superior right": (46,),
    "inferior left": (47,),
    "inferior right": (48,),
}
"""Their values in TPTBox's sub-region labels; the body's border has a value of its own."""

SEPARATE: dict[str, tuple[Part, ...]] = {
    **{name: parts for name, parts in GROUPS.items() if name != "arch"},
    "pedicle left": anatomy.PEDICLES[:1],
    "pedicle right": anatomy.PEDICLES[1:],
    "lamina left": anatomy.LAMINAE[:1],
    "lamina right": anatomy.LAMINAE[1:],
}
"""Parts, with pedicles and laminae apart."""


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the Dice coefficient of two masks; NaN if both are empty."""
    total = np.count_nonzero(found) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(found & truth) / total if total else float("nan")


def scores(
    found: np.ndarray, truth: np.ndarray, groups: Mapping[str, Sequence[Part]] = SEPARATE
) -> dict[str, float]:
    """Return the Dice coefficient of each group, for values of parts."""
    masks = {name: [part.value for part in parts] for name, parts in groups.items()}
    return {name: dice(np.isin(found, v), np.isin(truth, v)) for name, v in masks.items()}


_PARTS: dict[str, tuple[Part, Part]] = {
    "body": (anatomy.BODY, anatomy.BODY),
    "pedicle": anatomy.PEDICLES,
    "lamina": anatomy.LAMINAE,
    "spinous": (anatomy.SPINOUS, anatomy.SPINOUS),
    "transverse": anatomy.TRANSVERSE,
    "superior": anatomy.SUPERIOR,
    "inferior": anatomy.INFERIOR,
}
"""Left and right part of each solid."""

_BORDER_MM = 3.0
"""Distance from another solid up to which the border between both is a matter of convention."""

_GAP_MM = 1.0
"""Width of facet joints, which differs a little between phantoms."""


class _Solid:
    """Stands in for a field of a phantom, and keeps the solids that are added to it."""

    def __init__(self) -> None:
        self._distances: list[Distance] = []

    def add(self, low: object, high: object, distance: Distance, blend_mm: float = 0.0) -> None:
        """Keep a solid."""
        self._distances.append(distance)

    def add_capsule(
        self, ends: object, radii: object, stretch: object = (1, 1, 1), blend_mm: float = 0.0
    ) -> None:
        """Keep a capsule."""
        self._distances.append(capsule(ends, radii, stretch))

    def cut_capsule(self, ends: object, radii: object) -> None:
        """Ignore what is taken away: no voxel is there."""

    def depth_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the depth of points (n, 3) in the union of the solids; negative outside."""
        columns = points_mm.T.astype(np.float32)
        return -np.min([distance(*(c.copy() for c in columns)) for distance in self._distances], 0)


def exact_parts(phantom: Phantom, level: str, index_zyx: np.ndarray) -> np.ndarray:
    """Return the exact parts of voxels of a phantom's vertebra, C3 to L6, (n,) uint8.

    Args:
        phantom: A phantom with parametric shapes.
        level: Level of the vertebra.
        index_zyx: Voxels of the vertebra in ``phantom.labels``, (n, 3).
    """
    return decided_parts(phantom, level, index_zyx)[0]


def decided_parts(
    phantom: Phantom, level: str, index_zyx: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact parts, and which voxels the construction alone decides, (n,) bool."""
    names = [placed.name for placed in phantom.chain]
    placed = phantom.chain[names.index(level)]
    above = phantom.options.all_levels[phantom.options.all_levels.index(level) - 1]
    points = phantom.labels.geometry.to_lps_mm(index_zyx) - placed.frame.origin
    local = points @ np.asarray(placed.frame.axes).T
    convention = divide(local, exact_landmarks(placed, above))
    depths, values = _solids(placed, above, local)
    nearest = depths.argmax(axis=0)
    near = depths > np.minimum(depths.max(axis=0), 0.0) - _BORDER_MM
    agrees = (near & (values == convention)).any(axis=0)
    rows = np.arange(len(local))
    chosen = np.where(agrees, convention, values[nearest, rows])
    others = near & (values != values[nearest, rows])
    return chosen.astype(np.uint8), ~others.any(axis=0)


def _solids(placed: Placed, above: str, points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return depth and part of points in each solid, (solids, n); the body is the first.

    Solids of the other side are infinitely far: the midline divides the laminae.
    """
    left = points_mm[:, 0] >= 0
    depths, values = [], []
    for piece in pieces(placed, above, _GAP_MM):
        solid = _Solid()
        piece.add(solid)
        depth = solid.depth_mm(points_mm)
        if piece.side:
            depth = np.where(left == (piece.side > 0), depth, -np.inf)
        depths.append(depth)
        pair = [part.value for part in _PARTS[piece.name]]
        values.append(np.where(left, *pair))
    return np.array(depths), np.array(values)


def voxels_of(phantom: Phantom, level: str) -> np.ndarray:
    """Return the voxels of a level in a phantom, (n, 3)."""
    return np.argwhere(phantom.labels.array == BY_NAME[level].value)


def exact_landmarks(placed: Placed, above: str) -> Landmarks:
    """Return the landmarks of a parametric vertebra, C3 to L6, in its own frame."""
    shape, arch = placed.shape, arch_of(placed.name)
    thick, _, lamina_z = arch.lamina
    front = shape.canal_y + shape.canal_depth / 2
    is_neck = placed.name in NECK
    # The block's middle is 0.8 mm behind the canal's back and half a thickness. Below the neck, the
    # canal is cut out of the root of the spinous process, so that it is straight there.
    lamina = Lamina(lamina_z, front, -arch.shingle if is_neck else 0.0, 2 * thick + 0.8)
    wall = _wall_mm(placed)
    middle = (wall + front) / 2
    pedicle = _pedicle(placed, (wall + middle) / 2)
    tips = [_joint_tip(placed, name, end) for name, end in ((above, 1), (placed.name, -1))]
    share = (tips[0][2] - lamina_z) / (tips[0][2] - tips[1][2])
    side = ArchSide(
        pedicle,
        pedicle.at_depth(middle),
        tips[0] + np.clip(share, 0.2, 0.8) * (tips[1] - tips[0]),
        _transverse_tip(placed),
        *tips,
    )
    return Landmarks(
        wall, _half_width_mm(placed), shape.height / 2, lamina, {1: side, -1: side}, is_neck
    )


def _wall_mm(placed: Placed) -> float:
    """Return Y of the posterior wall of the drawn body, where `landmarks.wall_mm` measures it."""
    y = np.arange(0.0, placed.shape.depth, 0.02)
    distance = body_distance(placed)
    levels = [
        y[np.argmax(distance(0 * y + x * placed.shape.width / 2, y, 0 * y + z) > 0)]
        for x in (0.35, 0.45, 0.55)
        for z in np.array([-0.6, -0.4, -0.2]) * placed.shape.height / 2
    ]
    return float(np.median(levels))


def _half_width_mm(placed: Placed) -> float:
    """Return half the width of the drawn body, where `measure.body` measures it."""
    x = np.arange(0.0, placed.shape.width, 0.02)
    depths = np.array([-0.3, -0.15, 0.0]) * placed.shape.depth
    ends = [x[np.argmax(body_distance(placed)(x, 0 * x + y, 0 * x) > 0)] for y in depths]
    return float(np.median(ends))


def _pedicle(placed: Placed, y_mm: float) -> PedicleAxis:
    """Return the axis of the left pedicle, with the isthmus at a depth."""
    shape = placed.shape
    z = pedicle_z(shape, arch_of(placed.name))
    back = shape.canal_width / 2 + shape.pedicle_width / 2 - 0.3
    front = min(back, 0.62 * shape.width / 2 + shape.pedicle_width * 0.2)
    start = np.array([front, shape.wall - 4.0, z])
    stop = np.array([back, shape.canal_y + 0.28 * shape.canal_depth, z - 0.5])
    forward = (start - stop) / np.linalg.norm(start - stop)
    area = np.pi * shape.pedicle_width * shape.pedicle_height / 4
    axis = PedicleAxis(start, forward, shape.pedicle_height / 2, area)
    return replace(axis, isthmus_mm=axis.at_depth(y_mm))


def _joint_tip(placed: Placed, joint_of: str, end: int) -> np.ndarray:
    """Return the upper (1) or lower (-1) tip of the articular processes, on the left."""
    joint = joint_below(joint_of, placed.shape)
    axes = joint.axes(1.0)
    height = placed.shape.height / 2 + placed.shape.disc / 2 - 0.5
    centre = np.array([joint.x, joint.y, end * height - 0.5]) + end * axes[0] * joint.half[0]
    upright = axes[2] * np.sign(axes[2][2])
    return centre + end * (joint.half[2] - 1.5) * upright


def _transverse_tip(placed: Placed) -> np.ndarray:
    """Return the tip of the left transverse process."""
    shape, arch = placed.shape, arch_of(placed.name)
    if placed.name in NECK and placed.name != "C7":
        return np.array([shape.span / 2 - 1.5, shape.wall, -3.0])
    radius = arch.transverse[1]
    length = shape.span / 2 - radius - shape.canal_width / 2 - shape.pedicle_width / 2
    y = shape.canal_y + 0.3 * shape.canal_depth + arch.sweep[0] * length
    z = pedicle_z(shape, arch) - 2.0 + arch.sweep[1] * length
    return np.array([shape.span / 2 - 1.5, y, z])
