"""Parts of phantoms from their exact landmarks, and scores of parts.

A phantom's landmarks follow from the parameters that it is drawn with. Its exact parts are the
borders of `parts.divide` about these landmarks, so that a comparison tells how well landmarks are
found in labels. The body is also compared with the solid that was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spinemamba.anatomy import parts as anatomy
from spinemamba.anatomy.labels import BY_NAME
from spinemamba.anatomy.parts import Part
from spinemamba.parts.divide import divide
from spinemamba.parts.landmarks import NECK, ArchSide, Lamina, Landmarks
from spinemamba.parts.pedicle import Section
from spinemamba.phantom import Phantom
from spinemamba.phantom.body import body_distance
from spinemamba.phantom.curve import Placed
from spinemamba.phantom.joints import joint_below
from spinemamba.phantom.vertebra import arch_of, pedicle_z

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


def exact_parts(phantom: Phantom, level: str, index_zyx: np.ndarray) -> np.ndarray:
    """Return the exact parts of voxels of a phantom's vertebra, C3 to L6, (n,) uint8.

    Args:
        phantom: A phantom with parametric shapes.
        level: Level of the vertebra.
        index_zyx: Voxels of the vertebra in ``phantom.labels``, (n, 3).
    """
    names = [placed.name for placed in phantom.chain]
    placed = phantom.chain[names.index(level)]
    above = phantom.options.all_levels[phantom.options.all_levels.index(level) - 1]
    points = phantom.labels.geometry.to_lps_mm(index_zyx) - placed.frame.origin
    return divide(points @ np.asarray(placed.frame.axes).T, exact_landmarks(placed, above))


def voxels_of(phantom: Phantom, level: str) -> np.ndarray:
    """Return the voxels of a level in a phantom, (n, 3)."""
    return np.argwhere(phantom.labels.array == BY_NAME[level].value)


def exact_landmarks(placed: Placed, above: str) -> Landmarks:
    """Return the landmarks of a parametric vertebra, C3 to L6, in its own frame."""
    shape, arch = placed.shape, arch_of(placed.name)
    z = pedicle_z(shape, arch)
    thick, _, lamina_z = arch.lamina
    front = shape.canal_y + shape.canal_depth / 2
    is_neck = placed.name in NECK
    # The block's middle is 0.8 mm behind the canal's back and half a thickness. Below the neck, the
    # canal is cut out of the root of the spinous process, so that it is straight there.
    lamina = Lamina(lamina_z, front, -arch.shingle if is_neck else 0.0, 2 * thick + 0.8)
    wall = _wall_mm(placed)
    middle = (wall + front) / 2
    x = _pedicle_x(placed, (wall + middle) / 2)
    waist = Section(
        np.array([x, (wall + middle) / 2, z]), shape.pedicle_width / 2, shape.pedicle_height / 2
    )
    tips = [_joint_tip(placed, name, end) for name, end in ((above, 1), (placed.name, -1))]
    share = (tips[0][2] - lamina_z) / (tips[0][2] - tips[1][2])
    side = ArchSide(
        waist,
        np.array([x, middle, z]),
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


def _pedicle_x(placed: Placed, y_mm: float) -> float:
    """Return X of the axis of the left pedicle at a depth."""
    shape = placed.shape
    back = shape.canal_width / 2 + shape.pedicle_width / 2 - 0.3
    front = min(back, 0.62 * shape.width / 2 + shape.pedicle_width * 0.2)
    ends = shape.wall - 4.0, shape.canal_y + 0.28 * shape.canal_depth
    return float(np.interp(y_mm, ends, (front, back)))


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
