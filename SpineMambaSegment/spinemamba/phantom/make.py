"""Make a phantom: image, labels and tissues from a seed and options."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.phantom.appearance import PaintOptions, paint_ct, paint_mr
from spinemamba.phantom.canvas import Canvas
from spinemamba.phantom.curve import Placed, draw_chain
from spinemamba.phantom.options import PhantomOptions
from spinemamba.phantom.outline import Outline
from spinemamba.phantom.sdf import Frame
from spinemamba.phantom.skeleton import paint_skeleton
from spinemamba.phantom.soft import paint_soft
from spinemamba.phantom.spine import bounding_box, paint_canal, paint_discs, paint_vertebrae
from spinemamba.phantom.stored import ShapeBank


@dataclass(frozen=True)
class Phantom:
    """A synthetic image with its ground truth, on one grid.

    Attributes:
        image: int16; Hounsfield units, or arbitrary units for MR.
        labels: VerSe label values, uint8.
        tissues: Values of `Tissue`, uint8.
        options: Options of the phantom.
        scale: Size of the patient; 1 is an average adult.
        seed: Seed of the random generator.
        chain: Position and sizes of the vertebrae in view, from top to bottom. Shapes from a bank
            have these sizes only roughly.
    """

    image: Volume
    labels: Volume
    tissues: Volume
    options: PhantomOptions
    scale: float
    seed: int
    chain: tuple[Placed, ...]


def make_phantom(
    seed: int,
    options: PhantomOptions = PhantomOptions(),  # noqa: B008
    shapes: ShapeBank | None = None,
) -> Phantom:
    """Return a synthetic image of a spine with labels.

    Args:
        seed: Seed. Equal seeds and options give byte-equal phantoms.
        options: Contents and appearance.
        shapes: Real vertebral shapes; None uses parametric shapes only.

    Returns:
        Image, labels and tissues. The axes are z superior, y posterior, x to the patient's left.
    """
    rng = np.random.default_rng(seed)
    scale = options.scale if options.scale is not None else float(rng.normal(1.0, 0.05))
    chain = _centred(draw_chain(options, scale, rng), options)
    outline = Outline(chain, scale, rng)
    geometry = _field_of_view(chain, options, outline)
    canvas = Canvas(geometry, rng)
    present = set(options.all_levels if options.cut else options.levels)
    paint_soft(canvas, chain, outline, scale)
    paint_skeleton(canvas, chain, outline, present)
    paint_canal(canvas, chain)
    paint_discs(canvas, [p for p in chain if p.name in present])
    arthrosis = options.arthrosis
    arthrosis = arthrosis if arthrosis is not None else float(rng.uniform(0.1, 0.5))
    paint_vertebrae(canvas, chain, present, arthrosis, shapes)
    canvas.keep_largest()
    tissues = Volume(canvas.tissues, geometry)
    paint = paint_ct if options.modality == "ct" else paint_mr
    image = paint(tissues, rng, PaintOptions(options.noise_hu, options.density))
    labels = Volume(canvas.labels, geometry)
    shown = tuple(placed for placed in chain if placed.name in options.levels)
    return Phantom(Volume(image, geometry), labels, tissues, options, scale, seed, shown)


def _centred(chain: list[Placed], options: PhantomOptions) -> list[Placed]:
    """Return the chain translated so that the mean of the levels in view is at the origin."""
    in_view = [p.frame.origin for p in chain if p.name in options.levels]
    middle = np.mean(in_view, axis=0)
    return [
        Placed(p.name, Frame(p.frame.origin - middle, p.frame.axes), p.shape, p.top, p.bottom)
        for p in chain
    ]


def _field_of_view(chain: list[Placed], options: PhantomOptions, outline: Outline) -> Geometry:
    """Return a voxel grid that contains the requested levels."""
    in_view = [p for p in chain if p.name in options.levels]
    corners = np.concatenate([_corners(p) for p in in_view])
    low, high = corners.min(axis=0), corners.max(axis=0)
    if options.cut:
        above_mm, below_mm = options.beyond_mm
        low[2] = in_view[-1].frame.origin[2] - (60.0 if in_view[-1].name == "Sacrum" else 0.0)
        low[2] -= below_mm
        high[2] = in_view[0].frame.origin[2] + above_mm
    else:
        low[2] -= options.margin_mm
        high[2] += options.margin_mm
    if options.tight:
        low[:2] -= options.margin_mm
        high[:2] += options.margin_mm
    else:
        low[:2], high[:2] = outline.extent(low[2], high[2])
    spacing = np.array(options.spacing_mm)
    size = np.maximum(8, np.ceil((high - low)[::-1] / spacing)).astype(int)
    return Geometry(
        tuple(int(n) for n in size),
        tuple(float(s) for s in spacing),
        tuple(float(v) for v in low),
        np.eye(3),
    )


def _corners(placed: Placed) -> np.ndarray:
    """Return the corners of the bounding box of a vertebra in LPS."""
    low, high = bounding_box(placed)
    points = [
        (x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])
    ]
    return placed.frame.to_world(points)
