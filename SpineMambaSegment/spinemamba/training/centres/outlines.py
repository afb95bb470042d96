"""Outlines of vertebral bodies in a sagittal MR from their centres, and what they leave open.

In each sagittal slice a contour is drawn around the body, beginning in the middle; the contour of a
slice is what is expected in the next one. Where marrow does not stand out, the slice is unknown.
Discs, canal and what lies in front are background; arches and the rest of the sacrum are unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.interpolate import CubicSpline

from spinemamba.anatomy.labels import BY_NAME, BY_VALUE
from spinemamba.imaging.volume import Volume
from spinemamba.training.centres.contour import (
    Frame,
    filled,
    find_contour,
    recentred,
    rounded_box,
)
from spinemamba.training.centres.read import Centre

_SACRUM = BY_NAME["Sacrum"].value

_HALF_DEPTH_MM = {"C": 8.0, "T": 14.5, "L": 16.5, "S": 15.0}
_HALF_WIDTH_MM = {"C": 9.0, "T": 17.0, "L": 21.0, "S": 20.0}
"""Expected extent from front to back and from left to right, by region."""

_HEIGHT_SHARE = 0.385
"""Half of the height of a body relative to the distance of neighbouring centres."""

_BLUR_MM = 0.45
_SAMPLE_MM = 5.0
"""Marrow is sampled within this distance of the centre."""

_LEAST_CONTRAST = 0.1
"""Slices with a smaller step over the contour do not show the body."""


@dataclass(frozen=True)
class BodySlices:
    """A body in the sagittal slices of a volume.

    Attributes:
        value: VerSe value.
        frame: Position and direction in its middle slice.
        x_mm: Position from left to right, from the first slice.
        size_mm: Expected half depth, height and width.
    """

    value: int
    frame: Frame
    x_mm: float
    size_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Outlines:
    """What is known from the centres of a volume, on its grid.

    Attributes:
        labels: VerSe values in bodies, uint8.
        unclear: Mask of bodies whose slice does not show them, bool (z, y, x).
        chain: The bodies from head to foot.
    """

    labels: Volume
    unclear: np.ndarray
    chain: tuple[BodySlices, ...]


def outline_bodies(image: Volume, centres: tuple[Centre, ...]) -> Outlines:
    """Outline the bodies of an MR in canonical orientation.

    Args:
        image: MR whose last axis is left-right; its slices may be thick.
        centres: Centres from head to foot, at least three.
    """
    step = image.spacing_mm
    sigma = (_BLUR_MM / step[0], _BLUR_MM / step[1], 0)
    smooth = ndimage.gaussian_filter(image.array.astype(np.float32), sigma)
    chain = _chain(image, centres)
    labels, unclear = np.zeros(smooth.shape, np.uint8), np.zeros(smooth.shape, bool)
    for body in chain:
        _draw(body, smooth, step[2], (labels, unclear))
    unclear &= labels == 0
    return Outlines(image.with_array(labels), unclear, chain)


def _chain(image: Volume, centres: tuple[Centre, ...]) -> tuple[BodySlices, ...]:
    """Return the bodies with the directions that a smooth curve through the centres has."""
    step = np.array(image.spacing_mm)
    places = np.array([image.geometry.to_index_zyx(np.array(c.lps_mm)) for c in centres]) * step
    gaps = np.linalg.norm(np.diff(places[:, :2], axis=0), axis=1)
    arc = np.concatenate([[0.0], np.cumsum(gaps)])
    curve = CubicSpline(arc, places)
    out = []
    for k, centre in enumerate(centres):
        ends = (max(arc[k] - 6, 0.0), min(arc[k] + 6, arc[-1]))
        down = (curve(ends[1]) - curve(ends[0]))[:2]
        if centre.value == _SACRUM:  # the sacrum turns off sharply behind its first body
            down = (places[k] - places[k - 1])[:2]
        up = -down / np.linalg.norm(down)
        back = np.array([-up[1], up[0]])
        back = back if back[1] > 0 else -back
        above_sacrum = [g for i, g in enumerate(gaps) if centres[i + 1].value != _SACRUM]
        near = [gaps[i] for i in (k - 1, k) if 0 <= i < len(above_sacrum)] or above_sacrum[-1:]
        region = BY_VALUE[centre.value].name[0]
        size = (
            _HALF_DEPTH_MM[region],
            _HEIGHT_SHARE * float(np.mean(near)),
            _HALF_WIDTH_MM[region],
        )
        frame = Frame(step[:2], places[k, :2], up, back)
        out.append(BodySlices(centre.value, frame, float(places[k, 2]), size))
    return tuple(out)


def _draw(
    body: BodySlices,
    image: np.ndarray,
    slice_mm: float,
    out: tuple[np.ndarray, np.ndarray],
) -> None:
    """Draw a body into labels and the mask of unclear slices, in place."""
    last = image.shape[2] - 1
    middle = int(np.clip(round(body.x_mm / slice_mm), 0, last))
    marrow = _marrow(image[..., middle], body.frame)
    depth, height, width = body.size_mm
    first, _ = find_contour(
        image[..., middle], body.frame, rounded_box(depth, height), marrow, trust=0.25
    )
    frame, own_depth, own_height = recentred(body.frame, first)
    own_depth = float(np.clip(own_depth, 0.8 * depth, 1.25 * depth))
    own_height = float(np.clip(own_height, 0.75 * height, 1.22 * height))
    box = rounded_box(own_depth, own_height)
    for direction in (1, -1):
        expected, trust = box, 0.3
        x = middle
        while 0 <= x <= last and abs(x * slice_mm - body.x_mm) <= width:
            signal = max(_marrow(image[..., x], frame), 0.4 * marrow)
            radii, contrast = find_contour(image[..., x], frame, expected, signal, trust)
            expected, trust = 0.75 * radii + 0.25 * expected, 0.6
            _fill(body.value, filled(image.shape[:2], frame, expected), contrast, x, out)
            x += direction


def _fill(
    value: int,
    mask: np.ndarray,
    contrast: float,
    x: int,
    out: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, unclear = out
    if contrast < _LEAST_CONTRAST:
        unclear[..., x] |= mask
    else:
        labels[..., x][mask & (labels[..., x] == 0)] = value


def _marrow(slice_: np.ndarray, frame: Frame) -> float:
    """Return the median signal around the centre of a body, above zero."""
    index, reach = frame.centre_mm / frame.step_mm, _SAMPLE_MM / frame.step_mm
    first = np.maximum(index - reach, 0).astype(int)
    z, y = (slice(a, int(i + r) + 1) for a, i, r in zip(first, index, reach, strict=True))
    return float(np.median(slice_[z, y])) + 1e-3
