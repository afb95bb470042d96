"""Paint vertebrae, discs, spinal canal and cord."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.phantom.atlas_axis import build_atlas, build_axis
from spinemamba.phantom.canvas import Canvas
from spinemamba.phantom.curve import Placed
from spinemamba.phantom.damage import crushed, laminectomy
from spinemamba.phantom.parameters import SHAPES
from spinemamba.phantom.sacrum import along_arc, build_sacrum
from spinemamba.phantom.sdf import Field, Frame, Point
from spinemamba.phantom.stored import FittedShape, ShapeBank
from spinemamba.phantom.tissue import Tissue
from spinemamba.phantom.vertebra import build

_Warp = Callable[[list[np.ndarray]], list[np.ndarray]]

_BODY_GAP_MM = 2.2
_ROUGH_MM = 0.35
_OPERATED_SHARE = 0.08
"""Share of spines with a laminectomy, among those with real shapes."""


def bounding_box(placed: Placed) -> tuple[Point, Point]:
    """Return the lower and upper corner of the bounding box of a vertebra, in its frame."""
    shape = placed.shape
    if placed.name == "Sacrum":
        return (-64.0, -75.0, -105.0), (64.0, 50.0, shape.height / 2 + 22)
    half = shape.span / 2 + 6, shape.height / 2
    extra = 22.0 if placed.name == "C2" else 15.0
    low = (-half[0], -shape.wall - 14, min(-half[1] - 22, shape.tip_z - 14))
    return low, (half[0], shape.tip_y + 10, half[1] + extra)


def paint_discs(canvas: Canvas, chain: list[Placed]) -> None:
    """Paint the disc below each vertebra, from C2 downwards."""
    for upper, lower in itertools.pairwise(p for p in chain if p.name != "C1"):
        centre = _disc_centre(upper, lower)
        axes = upper.frame.axes + lower.frame.axes
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
        half = (
            0.49 * (upper.shape.width + lower.shape.width) / 2,
            0.49 * (upper.shape.depth + lower.shape.depth) / 2,
            upper.shape.disc / 2 + 3.0,
        )
        frame = Frame(centre, axes)
        field = canvas.field(frame, tuple(-h for h in half), half)
        if field is not None:
            x, y, z = field.coordinates
            ratio = (np.abs(x / half[0]) ** 2.5 + np.abs(y / half[1]) ** 2.5) ** np.float32(0.4)
            field.distance = np.maximum((ratio - 1) * 10, np.abs(z) - half[2])
            canvas.paint(field, Tissue.DISC)


def _disc_centre(upper: Placed, lower: Placed) -> np.ndarray:
    below = upper.frame.to_world((0, 0, -upper.shape.height / 2))
    above = lower.frame.to_world((0, 0, lower.shape.height / 2))
    return (below + above) / 2


def paint_canal(canvas: Canvas, chain: list[Placed]) -> None:
    """Paint epidural fat, cerebrospinal fluid, and the cord down to L1."""
    points, half = _canal_line(chain)
    fat, fluid = half - 0.3, half - 1.8
    canvas.tube(points, fat, Tissue.FAT, stretch=(1.3, 1.0, 1.0))
    canvas.tube(points, fluid, Tissue.CANAL, stretch=(1.25, 1.0, 1.0))
    for placed in chain[1:-1]:
        _paint_roots(canvas, placed)
    names = [p.name for p in chain]
    ends = 3 * (names.index("L1") + 1)
    canvas.tube(points[:ends], 3.4, Tissue.CORD, stretch=(1.35, 1.0, 1.0))


def _paint_roots(canvas: Canvas, placed: Placed) -> None:
    """Paint fat and nerve roots below both pedicles."""
    shape = placed.shape
    for side in (1.0, -1.0):
        ends = placed.frame.to_world(
            [
                (side * (shape.canal_width / 2 - 2), shape.wall + 4, -0.3 * shape.height),
                (side * (shape.canal_width / 2 + 9), shape.wall + 4, -0.42 * shape.height),
            ]
        )
        radius = 0.24 * shape.height + 1.0
        canvas.tube(ends, radius, Tissue.FAT, over=(Tissue.MUSCLE,))
        canvas.tube(ends, 0.4 * radius, Tissue.CORD, over=(Tissue.FAT, Tissue.MUSCLE))


def _canal_line(chain: list[Placed]) -> tuple[np.ndarray, np.ndarray]:
    """Return points along the canal, three per vertebra, and half of its depth at each."""
    points, half = [], []
    for placed in chain[:-1]:
        shape = placed.shape
        for z in (0.5, 0.0, -0.5):
            points.append(placed.frame.to_world((0, shape.canal_y, z * (shape.height + 3))))
            half.append(shape.canal_depth / 2 if placed.name != "C1" else 9.5)
    sacrum = chain[-1]
    for s, t in ((0, 24), (30, 20), (54, 14), (74, 10)):
        points.append(along_arc(sacrum, s).to_world((0, t, 0)))
        half.append(7.0 - s / 20)
    return np.array(points), np.array(half)


def paint_vertebrae(
    canvas: Canvas,
    chain: list[Placed],
    present: set[str],
    arthrosis: float,
    shapes: ShapeBank | None = None,
) -> None:
    """Paint the vertebrae, top to bottom.

    Args:
        canvas: Canvas to paint on.
        chain: Complete spine.
        present: Levels to paint.
        arthrosis: Share of facet joints without a joint space.
        shapes: Real shapes, which replace parametric ones if available for a level.
    """
    rng = canvas.rng
    stored = {} if shapes is None else _fitted_shapes(shapes, chain, rng)
    operated = set() if shapes is None else _laminectomy_levels(chain, rng)
    cortex_mm = rng.uniform(0.6, 1.2)
    gaps = [0.0 if rng.uniform() < arthrosis else rng.uniform(0.6, 1.7) for _ in chain]
    bends = rng.normal(0.0, 1.0, (len(chain), 4))
    for k, placed in enumerate(chain):
        real = stored.get(k)
        box = canvas.grid.box(placed.frame, *(real.bounds if real else bounding_box(placed)))
        if box is None or placed.name not in present:
            continue
        field = Field(canvas.grid, placed.frame, box, _bend(bends[k], placed))
        if real:
            field.distance = real.at(crushed(field.coordinates, placed))
        else:
            _build(field, placed, chain[k - 1].name, gaps[k])
        if k in operated:
            field.distance = laminectomy(field.distance, field.coordinates, placed)
        field.distance += np.float32(_ROUGH_MM) * canvas.rough(box, 2.5)
        cortex = cortex_mm * (1 + np.float32(0.35) * canvas.rough(box, 4.0))
        behind = field.coordinates[1] - np.float32(placed.shape.wall)
        if placed.name != "Sacrum":
            # Arches and processes are mostly cortex; the cortex of the body is thin.
            cortex *= 1 + np.float32(0.8) * np.clip(behind / 6, 0, 1)
        gap = np.full(behind.shape, gaps[k], np.float32)
        if placed.name not in ("C1", "C2"):
            # Cervical facet joints extend further anteriorly than the others.
            gap[behind < (1.0 if placed.name[0] == "C" else 4.0)] = _BODY_GAP_MM
        canvas.paint_vertebra(field, BY_NAME[placed.name].value, cortex, gap)


def _laminectomy_levels(chain: list[Placed], rng: np.random.Generator) -> set[int]:
    """Return the indices of vertebrae with a laminectomy: none, or one to three in a row."""
    if rng.uniform() >= _OPERATED_SHARE:
        return set()
    first = int(rng.integers(2, len(chain) - 3))
    return set(range(first, min(first + int(rng.integers(1, 4)), len(chain) - 1)))


def _fitted_shapes(
    shapes: ShapeBank, chain: list[Placed], rng: np.random.Generator
) -> dict[int, FittedShape]:
    """Return real shapes scaled to a patient, by index in the chain."""
    donors = shapes.draw_donors(rng)
    side = 1.0 if rng.uniform() < 0.5 else -1.0
    patient = float(np.mean([p.shape.width / SHAPES[p.name].width for p in chain]))
    out = {}
    for k, placed in enumerate(chain):
        stored = shapes.pick(placed.name, donors)
        if stored is None:
            continue
        neighbours = [chain[j].frame.origin for j in (k - 1, k + 1) if 0 <= j < len(chain)]
        step_mm = np.mean([np.linalg.norm(other - placed.frame.origin) for other in neighbours])
        height = float(np.clip(step_mm / stored.step_mm, 0.5, 1.6))
        # The widths in the chain vary by some percent between levels.
        width = height * placed.shape.width / (SHAPES[placed.name].width * patient)
        out[k] = FittedShape(stored, (side * width, width, height))
    return out


def _build(field: Field, placed: Placed, above: str, gap_mm: float) -> None:
    if placed.name == "C1":
        build_atlas(field, placed)
    elif placed.name == "C2":
        build_axis(field, placed, gap_mm)
    elif placed.name == "Sacrum":
        build_sacrum(field, placed, above, gap_mm)
    else:
        build(field, placed, above, gap_mm)


def _bend(bend: np.ndarray, placed: Placed) -> _Warp:
    """Return a warp of coordinates that makes a vertebra asymmetric, by up to about 2 mm."""
    wall = np.float32(placed.shape.wall)

    def warp(coordinates: list[np.ndarray]) -> list[np.ndarray]:
        x, y, z = coordinates
        behind = np.maximum(y - wall, 0) * np.float32(0.025)
        wave = np.sin(y * np.float32(0.09) + np.float32(bend[3]))
        return [
            x + np.float32(bend[0]) * behind,
            y + np.float32(0.5 * bend[1]) * np.sin(x * np.float32(0.08)),
            z + np.float32(bend[2]) * behind + np.float32(0.4 * bend[1]) * wave,
        ]

    return warp
