"""Phantoms: synthetic CT or MR images of a spine with exact labels."""

from spinemamba.phantom.appearance import PaintOptions, paint_ct, paint_mr
from spinemamba.phantom.make import Phantom, make_phantom
from spinemamba.phantom.options import PhantomOptions, random_options
from spinemamba.phantom.stored import ShapeBank
from spinemamba.phantom.tissue import CT_HU, OTHER_BONE, Tissue

__all__ = [
    "CT_HU",
    "OTHER_BONE",
    "PaintOptions",
    "Phantom",
    "PhantomOptions",
    "ShapeBank",
    "Tissue",
    "make_phantom",
    "paint_ct",
    "paint_mr",
    "random_options",
]
