"""Rib view: coronal maximum intensity projection of a curved slab along the spine.

The slab follows the centre line in the frame of `straighten`. It contains the heads and the
posterior parts of the ribs, which leave the spine one below the other and can be counted. Bone must
be brighter than everything else, so it is a view of CT only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.common.stepwise import Steps, run_to_end
from spinemamba.imaging.curved_planar import View, trace_spine_in_steps
from spinemamba.imaging.intensity import HounsfieldOptions
from spinemamba.imaging.orientation import canonical_view
from spinemamba.imaging.straighten import MovingFrame, body_marks, moving_frame
from spinemamba.imaging.volume import Volume
from spinemamba.protocol.rib_findings import LEAST_BESIDE_MM

RIB_WINDOW_HU = (-50.0, 850.0)
"""Black and white: the thin last ribs are visible between liver and kidneys."""

RIB_REACH_MM = 110.0
"""Extent to both sides."""

_SLAB_MM = (-10.0, 60.0)
"""Depth of the slab from the centre of the bodies to the back: the heads of the ribs lie beside the
posterior half of a body, their angles 50 mm behind it; the aorta lies in front."""

_SLAB_STEP_MM = 1.5
"""Step between the sheets of the slab; the cortex of a rib on both sides is thicker."""

_JOINT_MM = (6.0, 36.0)
"""Place of a rib beside its vertebra, above the centre of the body and aside: the heads of most
ribs lie at the upper edge of the body, and the necks end 40 mm from the middle."""


@dataclass(frozen=True)
class RibView:
    """The projection.

    Attributes:
        view: The projection with the patient's right on the left, and row 0 the lowest. Its labels
            are those of the sheet through the centres of the bodies.
        beside_mm: Extent of the data to the patient's right and left at the height of each label
            value, at most `RIB_REACH_MM`.
    """

    view: View
    beside_mm: dict[int, tuple[float, float]]

    def joints(self, value: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return row and column of the ribs of a label value, on the patient's right and left."""
        row, column = self.view.bodies[value]
        up, aside = (mm / self.view.pixel_mm for mm in _JOINT_MM)
        return (row + up, column - aside), (row + up, column + aside)

    def narrow(self) -> list[int]:
        """Return the label values beside which ribs may be cut, from top to bottom."""
        values = [v for v, extents in self.beside_mm.items() if min(extents) < LEAST_BESIDE_MM]
        return sorted(values, key=lambda value: -self.view.bodies[value][0])


def rib_view(image: Volume, labels: Volume, pixel_mm: float = 1.0) -> RibView | None:
    """Return the rib view of a CT.

    Args:
        image: Segmented CT, in any orientation.
        labels: Label values of the vertebrae on the same grid; 0 elsewhere.
        pixel_mm: Pixel size.

    Returns:
        The view, or None if no voxel is labelled.
    """
    return run_to_end(rib_view_in_steps(image, labels, pixel_mm))


def rib_view_in_steps(
    image: Volume, labels: Volume, pixel_mm: float = 1.0
) -> Steps[RibView | None]:
    """`rib_view` in steps of some ten milliseconds."""
    least = float(image.array.min())
    outside = np.float32(least - 1)
    image, labels = canonical_view(image)[0], canonical_view(labels)[0]
    line = yield from trace_spine_in_steps(labels)
    if not line.bodies_mm:
        return None
    frame = moving_frame(line.bodies_mm, pixel_mm)
    columns_mm = np.arange(-RIB_REACH_MM, RIB_REACH_MM + pixel_mm / 2, pixel_mm)
    brightest = np.full((len(frame.points_mm), len(columns_mm)), outside, np.float32)
    for depth_mm in np.arange(_SLAB_MM[0], _SLAB_MM[1] + _SLAB_STEP_MM / 2, _SLAB_STEP_MM):
        at = _sheet(frame, columns_mm, depth_mm) / np.array(image.spacing_mm)[:, None, None]
        values = ndimage.map_coordinates(
            image.array, at, np.float32, order=1, mode="constant", cval=outside
        )
        np.maximum(brightest, values, out=brightest)
        yield
    at = _sheet(frame, columns_mm, 0.0) / np.array(labels.spacing_mm)[:, None, None]
    middle = ndimage.map_coordinates(labels.array, at, order=0, mode="constant", cval=0)
    marks = body_marks(line.bodies_mm, frame, frame.left, (float(columns_mm[0]), pixel_mm))
    view = View(brightest, middle, pixel_mm, marks)
    # Padding is darker than tissue, and in a slab within the body there is always tissue.
    is_padding = brightest <= (least if least < HounsfieldOptions.no_tissue_hu else outside)
    beside_mm = {v: _beside(~is_padding, mark, pixel_mm) for v, mark in marks.items()}
    return RibView(view, beside_mm)


def _sheet(frame: MovingFrame, columns_mm: np.ndarray, depth_mm: float) -> np.ndarray:
    """Return the points of a curved sheet behind the centre line, (3, rows, columns)."""
    rows = frame.points_mm + depth_mm * frame.back
    sheet = rows[:, None] + columns_mm[None, :, None] * frame.left[:, None]
    return np.moveaxis(sheet, -1, 0)


def _beside(
    has_data: np.ndarray, mark: tuple[float, float], pixel_mm: float
) -> tuple[float, float]:
    """Return how far the data reach to the right and to the left of a body, in mm."""
    row, column = round(mark[0]), round(mark[1])
    line = has_data[row]
    column = min(max(column, 0), len(line) - 1)
    if not line[column]:
        return 0.0, 0.0
    right, left = np.flatnonzero(~line[:column]), np.flatnonzero(~line[column:])
    first = right.max() + 1 if right.size else 0
    stop = column + left.min() if left.size else len(line)
    middle = (len(line) - 1) / 2
    return float(middle - first) * pixel_mm, float(stop - 1 - middle) * pixel_mm
