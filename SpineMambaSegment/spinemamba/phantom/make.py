"""The public way to a phantom."""

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
from spinemamba.phantom.spine import paint_canal, paint_discs, paint_vertebrae, reach_of
from spinemamba.phantom.stored import ShapeBank


@dataclass(frozen=True)
class Phantom:
    """A synthetic scan and the truth about it, all on one grid.

    Attributes:
        image: int16; Hounsfield units, or arbitrary units for MR.
        labels: VerSe label values, uint8.
        tissues: Values of `Tissue`, uint8.
        options: What was asked for.
        scale: Size of the patient, 1 is an average adult.
        seed: What it was made from.
    """

    image: Volume
    labels: Volume
    tissues: Volume
    options: PhantomOptions
    scale: float
    seed: int


def make_phantom(
    seed: int,
    options: PhantomOptions = PhantomOptions(),  # noqa: B008
    shapes: ShapeBank | None = None,
) -> Phantom:
    """Make a synthetic scan of a spine.

    Args:
        seed: Equal seeds and options give byte-equal phantoms.
        options: What it shows.
        shapes: Real vertebrae to compose the spine of; None designs them all.

    Returns:
        Image, labels and tissues. The axes are z up, y backwards, x to the patient's left.
    """
    rng = np.random.default_rng(seed)
    scale = options.scale if options.scale is not None else float(rng.normal(1.0, 0.05))
    chain = _centred(draw_chain(options, scale, rng), options)
    outline = Outline(chain, scale, rng)
    geometry = field_of_view(chain, options, outline)
    canvas = Canvas(geometry, rng)
    wanted = set(options.all_levels if options.cut else options.levels)
    paint_soft(canvas, chain, outline, scale)
    paint_skeleton(canvas, chain, outline, wanted)
    paint_canal(canvas, chain)
    paint_discs(canvas, [p for p in chain if p.name in wanted])
    arthrosis = options.arthrosis
    arthrosis = arthrosis if arthrosis is not None else float(rng.uniform(0.1, 0.5))
    paint_vertebrae(canvas, chain, wanted, arthrosis, shapes)
    canvas.keep_largest()
    tissues = Volume(canvas.tissues, geometry)
    paint = paint_ct if options.modality == "ct" else paint_mr
    image = paint(tissues, rng, PaintOptions(options.noise_hu, options.density))
    labels = Volume(canvas.labels, geometry)
    return Phantom(Volume(image, geometry), labels, tissues, options, scale, seed)


def _centred(chain: list[Placed], options: PhantomOptions) -> list[Placed]:
    """Return the chain moved so that the middle of the levels in view is at the origin."""
    shown = [p.frame.origin for p in chain if p.name in options.levels]
    middle = np.mean(shown, axis=0)
    return [
        Placed(p.name, Frame(p.frame.origin - middle, p.frame.axes), p.shape, p.top, p.bottom)
        for p in chain
    ]


def field_of_view(chain: list[Placed], options: PhantomOptions, outline: Outline) -> Geometry:
    """Return the voxel grid that shows the levels asked for."""
    shown = [p for p in chain if p.name in options.levels]
    corners = np.concatenate([_corners(p) for p in shown])
    low, high = corners.min(axis=0), corners.max(axis=0)
    if options.cut:
        above_mm, below_mm = options.beyond_mm
        low[2] = shown[-1].frame.origin[2] - (60.0 if shown[-1].name == "Sacrum" else 0.0)
        low[2] -= below_mm
        high[2] = shown[0].frame.origin[2] + above_mm
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
    """Return the corners of a vertebra's box in LPS, without the slack along z."""
    low, high = reach_of(placed)
    points = [
        (x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])
    ]
    return placed.frame.to_world(points)
