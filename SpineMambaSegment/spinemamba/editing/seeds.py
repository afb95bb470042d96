"""Where one vertebra begins to grow in a box, and where those around it do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.voxel_predictions import Evidence
from spinemamba.instances.centreline_search import find_centreline
from spinemamba.instances.core_cuts import segment_cores
from spinemamba.instances.find import InstanceOptions

NEAREST_MM = 12.0
"""A core that ends further from the place is a neighbour's: half the height of a thoracic one."""

BALL_MM = 5.0
"""The place stands for a core that was missed: a ball that fits into a cervical body."""

LEAST_BONE = 0.2
"""Where a person sees a vertebra, less probability of bone is enough for the ball."""

DEEP = 0.6
"""A neighbour that was outlined counts from here, as a share of its greatest depth."""


@dataclass(frozen=True)
class BoxSeeds:
    """What grows.

    Attributes:
        numbers: From 1, from head to tail, where vertebrae begin, int32, on the evidence's grid.
        own: Number of the vertebra that is wanted.
        bone: Mask to divide.
        from_place: Whether the vertebra begins at the place, for want of a core.
    """

    numbers: np.ndarray
    own: int
    bone: np.ndarray
    from_place: bool


def box_seeds(
    evidence: Evidence,
    known: Volume,
    kept: np.ndarray,
    place_lps_mm: tuple[float, float, float],
) -> BoxSeeds:
    """Return where the vertebra at a place begins, and where others do.

    Args:
        evidence: What the fine network says, in canonical orientation.
        known: Label values that are there, on the canonical image.
        kept: Voxels of the image that are others' for certain.
        place_lps_mm: A place in the vertebra.

    Raises:
        UserError: If there is neither a core nor bone at the place (NO_SPINE).
    """
    geometry = evidence.geometry
    bone = evidence.bone > InstanceOptions().bone
    sure = sampled(kept, known.geometry, geometry)
    pieces = _pieces(np.where(bone, evidence.core, 0), geometry.spacing_mm)
    distance_mm = _distance_mm(geometry, place_lps_mm)
    own = _nearest(pieces, sure, distance_mm)
    from_place = own is None
    if own is None:
        own = (distance_mm <= BALL_MM) & (evidence.bone > LEAST_BONE)
        _check_bone(own & ~sure, place_lps_mm)
    own &= ~sure
    numbers = np.where(pieces > 0, pieces + 1, 0).astype(np.int32)
    labels = sampled(known.array, known.geometry, geometry)
    first = int(numbers.max()) + 1
    for value in np.unique(labels[labels > 0]):
        deep = _deep(labels == value, geometry.spacing_mm)
        # The network missed the core of this one.
        if not (numbers[deep] > 1).any():
            numbers[deep] = first + int(value)
    numbers[own] = 1
    ordered = _from_head_to_tail(numbers)
    return BoxSeeds(ordered, int(ordered[own][0]), bone | own, from_place)


def _from_head_to_tail(numbers: np.ndarray) -> np.ndarray:
    """Return seeds numbered anew by their height, int32."""
    values = np.unique(numbers[numbers > 0])
    rows = np.broadcast_to(np.arange(len(numbers))[:, None, None], numbers.shape)
    heights = np.asarray(ndimage.mean(rows, numbers, values))
    lookup = np.zeros(int(values.max()) + 1, np.int32)
    lookup[values[np.argsort(-heights)]] = np.arange(1, len(values) + 1)
    return lookup[numbers]


def _pieces(core: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the cores of vertebrae in the box, numbered, int32."""
    line = find_centreline(core, spacing_mm)
    if line is None:
        return np.zeros(core.shape, np.int32)
    return segment_cores(core, line, spacing_mm)


def _nearest(pieces: np.ndarray, kept: np.ndarray, distance_mm: np.ndarray) -> np.ndarray | None:
    """Return the mask of the piece nearest to the place that is nobody's; None if none is near."""
    sizes, lost = np.bincount(pieces.ravel()), np.bincount(pieces[kept], minlength=pieces.max() + 1)
    numbers = np.flatnonzero((sizes > 2 * lost)[1:]) + 1
    if not len(numbers):
        return None
    gaps_mm = np.asarray(ndimage.minimum(distance_mm, pieces, numbers))
    if gaps_mm.min() > NEAREST_MM:
        return None
    return pieces == numbers[int(gaps_mm.argmin())]


def _distance_mm(geometry: Geometry, place_lps_mm: tuple[float, float, float]) -> np.ndarray:
    """Return how far each voxel of a grid is from a place, (z, y, x)."""
    at = geometry.to_index_zyx(np.asarray(place_lps_mm))
    axes = np.ogrid[tuple(slice(0, n) for n in geometry.shape)]
    steps = zip(axes, at, geometry.spacing_mm, strict=True)
    return np.sqrt(sum(((axis - centre) * step) ** 2 for axis, centre, step in steps))


def sampled(values: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    """Return the values of the nearest voxels; 0 outside. The axes of both grids are parallel."""
    first = source.to_index_zyx(np.asarray(target.origin_lps_mm))
    step = np.asarray(target.spacing_mm) / np.asarray(source.spacing_mm)
    out = np.zeros(target.shape, values.dtype)
    index, inside = [], []
    for axis in range(3):
        at = np.rint(first[axis] + np.arange(target.shape[axis]) * step[axis]).astype(int)
        ok = (at >= 0) & (at < source.shape[axis])
        index.append(at[ok])
        inside.append(np.flatnonzero(ok))
    out[np.ix_(*inside)] = values[np.ix_(*index)]
    return out


def _deep(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return where a mask is deep: the middle of its body."""
    depth_mm = ndimage.distance_transform_edt(mask, spacing_mm)
    return depth_mm >= DEEP * depth_mm.max()


def _check_bone(own: np.ndarray, place_lps_mm: tuple[float, float, float]) -> None:
    if not own.any():
        x, y, z = place_lps_mm
        raise UserError(
            f"No vertebra found at {x:.0f}, {y:.0f}, {z:.0f}: nothing there looks like bone.",
            "Give a place in the middle of the vertebra's body that no approved vertebra holds.",
            Code.NO_SPINE,
        )
