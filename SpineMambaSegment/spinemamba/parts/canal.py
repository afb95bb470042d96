"""The spinal canal as a tube of elliptic section through the arches and between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from spinemamba.imaging.volume import Box, Geometry, Volume
from spinemamba.measure.frame import Frame
from spinemamba.measure.vertebra import Vertebra
from spinemamba.parts.landmarks import Landmarks

_SIDEWAYS_MM = 25.0
_HEIGHTS_MM = (-3.0, 0.0, 3.0)
"""Heights about the pedicles at which the width is measured."""

_USUAL_WIDTH = 1.35
"""Width relative to the depth, if the pedicles do not enclose the canal."""

_ENDS = 0.6
"""Height of the first and last section of a vertebra, in half heights of its body."""

_BEYOND = 0.1
"""How far a stretch between two sections extends beyond both, so that none is missing at a bend."""


@dataclass(frozen=True)
class _Section:
    """An elliptic section of the canal: centre and axes, half its width and depth."""

    frame: Frame
    half_width_mm: float
    half_depth_mm: float


def canal_voxels(
    labels: Volume, chain: Sequence[tuple[Vertebra, Landmarks]]
) -> Iterable[tuple[Box, np.ndarray]]:
    """Yield the voxels of the canal along neighbouring vertebrae.

    Args:
        labels: Label image; voxels of vertebrae do not belong to the canal.
        chain: Neighbouring vertebrae with their landmarks, from top to bottom.

    Yields:
        Box in the label image and mask in this box.
    """
    sections = [section for pair in chain for section in _sections(*pair)]
    for upper, lower in pairwise(sections):
        box, inside = _stretch(labels.geometry, upper, lower)
        if box is not None:
            yield box, inside & (labels.array[box] == 0)


def _sections(vertebra: Vertebra, marks: Landmarks) -> list[_Section]:
    """Return the sections at the upper and the lower end of a vertebra."""
    frame = vertebra.body.frame
    depth = marks.lamina.front_mm - marks.wall_mm
    height = float(np.mean([side.pedicle.isthmus_mm[2] for side in marks.sides.values()]))
    middle = marks.canal_middle_mm
    starts = frame.to_lps(np.array([(0.0, middle, height + z) for z in _HEIGHTS_MM]))
    left, right = (
        _median(vertebra.patch.entries_mm(starts, sign * frame.axes_lps[0], _SIDEWAYS_MM))
        for sign in (1, -1)
    )
    if left is None or right is None:
        left = right = _USUAL_WIDTH * depth / 2
    out = []
    for sign in (1, -1):
        centre = ((left - right) / 2, middle, sign * _ENDS * marks.half_height_mm)
        out.append(_Section(frame.moved(centre), (left + right) / 2, depth / 2))
    return out


def _median(distances: np.ndarray) -> float | None:
    known = distances[np.isfinite(distances)]
    return float(np.median(known)) if len(known) else None


def _stretch(grid: Geometry, upper: _Section, lower: _Section) -> tuple[Box | None, np.ndarray]:
    """Return the voxels between two sections: their box, and which of them are in the canal."""
    start, stop = upper.frame.centre_lps_mm, lower.frame.centre_lps_mm
    along = stop - start
    reach = max(upper.half_width_mm, lower.half_width_mm) + float(np.abs(along).max()) * _BEYOND
    index = grid.to_index_zyx(np.array([start, stop]))
    margin = (reach + 2.0) / np.asarray(grid.spacing_mm)
    low = np.maximum(np.floor(index.min(axis=0) - margin).astype(int), 0)
    high = np.minimum(np.ceil(index.max(axis=0) + margin).astype(int) + 1, grid.shape)
    if (low >= high).any():
        return None, np.zeros(0, bool)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    axes = np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij")
    points = grid.to_lps_mm(np.stack(axes, axis=-1)) - start
    share = points @ along / (along @ along)
    t = np.clip(share, 0, 1)[..., None]
    off = points - t * along
    across = [
        (off * unit_between(upper.frame.axes_lps[k], lower.frame.axes_lps[k], t)).sum(axis=-1)
        for k in (0, 1)
    ]
    sizes = [
        a + t[..., 0] * (b - a)
        for a, b in (
            (upper.half_width_mm, lower.half_width_mm),
            (upper.half_depth_mm, lower.half_depth_mm),
        )
    ]
    inside = (across[0] / sizes[0]) ** 2 + (across[1] / sizes[1]) ** 2 <= 1
    return box, inside & (share > -_BEYOND) & (share < 1 + _BEYOND)


def unit_between(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return unit vectors between two directions, at shares from 0 to 1, (..., 3)."""
    between = first + share * (second - first)
    return between / np.linalg.norm(between, axis=-1, keepdims=True)
