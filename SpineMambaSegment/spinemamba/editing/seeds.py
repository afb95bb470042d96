"""Seeds of the target vertebra and of its neighbours in a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.centreline_search import find_centreline
from spinemamba.instances.core_cuts import segment_cores
from spinemamba.instances.find import InstanceOptions

NEAREST_MM = 12.0
"""Largest distance of the target's core from the point: half the height of a thoracic body."""

BALL_MM = 5.0
"""Radius of the ball that replaces a missed core; it fits into a cervical body."""

LEAST_BONE = 0.2
"""Minimum bone probability in the ball, lower than elsewhere because the user sees a vertebra."""

DEEP = 0.6
"""Depth from which voxels of an existing neighbour are its seed, relative to its maximum depth."""


@dataclass(frozen=True)
class BoxSeeds:
    """Seeds in a box.

    Attributes:
        numbers: Seed numbers from 1, cranial to caudal, 0 elsewhere; int32, on the grid of the
            voxel predictions.
        target: Number of the target vertebra.
        bone: Mask of bone to assign.
        from_place: Whether the seed of the target is a ball at the point, because its core is
            missing.
    """

    numbers: np.ndarray
    target: int
    bone: np.ndarray
    from_place: bool


def box_seeds(
    predictions: VoxelPredictions,
    known: Volume,
    kept: np.ndarray,
    place_lps_mm: tuple[float, float, float],
) -> BoxSeeds:
    """Return the seeds of the vertebra at a point and of its neighbours.

    Args:
        predictions: Voxel predictions of the fine network, in canonical orientation.
        known: Existing label values, on the canonical image.
        kept: Mask of voxels of the image that must not be overwritten.
        place_lps_mm: A point in the target vertebra.

    Raises:
        UserError: If there is neither a core nor bone at the point (NO_SPINE).
    """
    geometry = predictions.geometry
    bone = predictions.bone > InstanceOptions.bone_threshold
    kept_fine = sample_nearest(kept, known.geometry, geometry)
    cores = _cores(np.where(bone, predictions.core, 0), geometry.spacing_mm)
    distance_mm = _distance_mm(geometry, place_lps_mm)
    target = _nearest_core(cores, kept_fine, distance_mm)
    from_place = target is None
    if target is None:
        target = (distance_mm <= BALL_MM) & (predictions.bone > LEAST_BONE)
        _check_bone(target & ~kept_fine, place_lps_mm)
    target &= ~kept_fine
    numbers = np.where(cores > 0, cores + 1, 0).astype(np.int32)
    labels = sample_nearest(known.array, known.geometry, geometry)
    first = int(numbers.max()) + 1
    for value in np.unique(labels[labels > 0]):
        deep = _deep(labels == value, geometry.spacing_mm)
        # The network missed the core of this neighbour.
        if not (numbers[deep] > 1).any():
            numbers[deep] = first + int(value)
    numbers[target] = 1
    ordered = _numbered_by_height(numbers)
    return BoxSeeds(ordered, int(ordered[target][0]), bone | target, from_place)


def _numbered_by_height(numbers: np.ndarray) -> np.ndarray:
    """Renumber seeds from cranial to caudal, int32."""
    values = np.unique(numbers[numbers > 0])
    rows = np.broadcast_to(np.arange(len(numbers))[:, None, None], numbers.shape)
    heights = np.asarray(ndimage.mean(rows, numbers, values))
    lookup = np.zeros(int(values.max()) + 1, np.int32)
    lookup[values[np.argsort(-heights)]] = np.arange(1, len(values) + 1)
    return lookup[numbers]


def _cores(core: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the numbered cores in the box, int32."""
    line = find_centreline(core, spacing_mm)
    if line is None:
        return np.zeros(core.shape, np.int32)
    return segment_cores(core, line, spacing_mm)


def _nearest_core(
    cores: np.ndarray, kept: np.ndarray, distance_mm: np.ndarray
) -> np.ndarray | None:
    """Return the mask of the free core nearest to the point, or None if none is near."""
    sizes, lost = np.bincount(cores.ravel()), np.bincount(cores[kept], minlength=cores.max() + 1)
    numbers = np.flatnonzero((sizes > 2 * lost)[1:]) + 1
    if not len(numbers):
        return None
    gaps_mm = np.asarray(ndimage.minimum(distance_mm, cores, numbers))
    if gaps_mm.min() > NEAREST_MM:
        return None
    return cores == numbers[int(gaps_mm.argmin())]


def _distance_mm(geometry: Geometry, place_lps_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the distance of each voxel of a grid from a point, (z, y, x)."""
    at = geometry.to_index_zyx(np.asarray(place_lps_mm))
    axes = np.ogrid[tuple(slice(0, n) for n in geometry.shape)]
    steps = zip(axes, at, geometry.spacing_mm, strict=True)
    return np.sqrt(sum(((axis - centre) * step) ** 2 for axis, centre, step in steps))


def sample_nearest(values: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    """Resample by nearest neighbour between grids with parallel axes; 0 outside of the source."""
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
    """Return the deep part of a mask, the centre of its body."""
    depth_mm = ndimage.distance_transform_edt(mask, spacing_mm)
    return depth_mm >= DEEP * depth_mm.max()


def _check_bone(target: np.ndarray, place_lps_mm: tuple[float, float, float]) -> None:
    if not target.any():
        x, y, z = place_lps_mm
        raise UserError(
            f"No vertebra found at {x:.0f}, {y:.0f}, {z:.0f}: there is no bone.",
            "Give a point in the centre of the body that is not in an approved vertebra.",
            Code.NO_SPINE,
        )
