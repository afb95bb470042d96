"""Assign the bone in a region to the target vertebra, to unsegmented or to existing vertebrae.

Seeds are the cores that the network finds. A missed core of the target is replaced by a ball at the
user's point, and that of an existing vertebra by the deep part of its label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.centreline_search import find_centreline
from spinemamba.instances.core_cuts import segment_cores
from spinemamba.instances.find import InstanceOptions, expected_level
from spinemamba.instances.partition import VoxelHints, assign_voxels

TARGET, UNKNOWN, EXISTING = 1, 2, 3
"""Part codes: target vertebra, bone of unsegmented vertebrae, existing neighbours."""

_NEAREST_MM = 12.0
"""Largest distance of the target's core from the point: half the height of a thoracic body."""

_BALL_MM = 5.0
"""Radius of the ball that replaces a missed core; it fits into a cervical body."""

_LEAST_BONE = 0.2
"""Minimum bone probability in the ball, lower than elsewhere because the user sees a vertebra."""

_DEEP = 0.6
"""Depth from which voxels of an existing neighbour are its seed, relative to its maximum depth."""

_HELD = 0.25
"""Share of a neighbour that overlaps the target. Above it, the neighbour contains the target by
mistake; less is a different boundary at the facet joints."""


@dataclass(frozen=True)
class Seeds:
    """Seeds in a region of interest.

    Attributes:
        numbers: Seed numbers from 1, cranial to caudal, 0 elsewhere; int32, on the grid of the
            voxel predictions.
        target: Number of the target vertebra.
        bone: Mask of bone to assign.
        from_point: Whether the seed of the target is a ball at the point, because its core is
            missing.
    """

    numbers: np.ndarray
    target: int
    bone: np.ndarray
    from_point: bool


def find_seeds(
    predictions: VoxelPredictions,
    known: Volume,
    kept: np.ndarray,
    point_lps_mm: tuple[float, float, float],
) -> Seeds:
    """Return the seeds of the vertebra at a point and of its neighbours.

    Args:
        predictions: Voxel predictions of the fine network, in canonical orientation.
        known: Existing label values, on the canonical image.
        kept: Mask of voxels of the image that must not be overwritten.
        point_lps_mm: A point in the target vertebra.

    Raises:
        UserError: If there is neither a core nor bone at the point (NO_SPINE).
    """
    geometry = predictions.geometry
    bone = predictions.bone > InstanceOptions.bone_threshold
    kept_fine = _sample_nearest(kept, known.geometry, geometry)
    cores = _cores(np.where(bone, predictions.core, 0), geometry.spacing_mm)
    distance_mm = _distance_mm(geometry, point_lps_mm)
    target = _nearest_core(cores, kept_fine, distance_mm)
    from_point = target is None
    if target is None:
        target = (distance_mm <= _BALL_MM) & (predictions.bone > _LEAST_BONE)
        _check_bone(target & ~kept_fine, point_lps_mm)
    target &= ~kept_fine
    numbers = np.where(cores > 0, cores + 1, 0).astype(np.int32)
    labels = _sample_nearest(known.array, known.geometry, geometry)
    first = int(numbers.max()) + 1
    for value in np.unique(labels[labels > 0]):
        deep = _deep(labels == value, geometry.spacing_mm)
        # The network missed the core of this neighbour.
        if not (numbers[deep] > 1).any():
            numbers[deep] = first + int(value)
    numbers[target] = 1
    ordered = _numbered_by_height(numbers)
    return Seeds(ordered, int(ordered[target][0]), bone | target, from_point)


def _numbered_by_height(numbers: np.ndarray) -> np.ndarray:
    """Renumber seeds from cranial to caudal, int32."""
    values = np.unique(numbers[numbers > 0])
    rows = np.broadcast_to(np.arange(len(numbers))[:, None, None], numbers.shape)
    heights = np.asarray(ndimage.mean(rows, numbers, values))
    lookup = np.zeros(int(values.max()) + 1, np.int32)
    lookup[values[np.argsort(-heights)]] = np.arange(1, len(values) + 1)
    return lookup[numbers]


def _cores(core: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the numbered cores of the region, int32."""
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
    if gaps_mm.min() > _NEAREST_MM:
        return None
    return cores == numbers[int(gaps_mm.argmin())]


def _distance_mm(geometry: Geometry, point_lps_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the distance of each voxel of a grid from a point, (z, y, x)."""
    at = geometry.to_index_zyx(np.asarray(point_lps_mm))
    axes = np.ogrid[tuple(slice(0, n) for n in geometry.shape)]
    steps = zip(axes, at, geometry.spacing_mm, strict=True)
    return np.sqrt(sum(((axis - centre) * step) ** 2 for axis, centre, step in steps))


def _sample_nearest(values: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
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
    return depth_mm >= _DEEP * depth_mm.max()


def _check_bone(target: np.ndarray, point_lps_mm: tuple[float, float, float]) -> None:
    if not target.any():
        x, y, z = point_lps_mm
        raise UserError(
            f"No vertebra found at {x:.0f}, {y:.0f}, {z:.0f}: there is no bone.",
            "Give a point in the centre of the body that is not in an approved vertebra.",
            Code.NO_SPINE,
        )


@dataclass(frozen=True)
class _Assignment:
    """Assignment of the bone in a region.

    Attributes:
        parts: `TARGET`, `UNKNOWN` or `EXISTING`, 0 for background; int16, on the grid of the voxel
            predictions.
        neighbours: Label values of the neighbours that keep their voxels, uint8, on the image.
    """

    parts: np.ndarray
    neighbours: np.ndarray


def assign_bone(
    seeds: Seeds, predictions: VoxelPredictions, known: Volume, kept: np.ndarray
) -> _Assignment:
    """Assign the bone in a region.

    Existing labels are not used as seeds: they begin at the facet joints of the target, and would
    reach its arch before the path from its own body does.

    Args:
        seeds: Seeds of the vertebrae.
        predictions: Voxel predictions of the fine network.
        known: Label values of the existing vertebrae, on the canonical image.
        kept: Mask of voxels of the image that must not be overwritten.
    """
    # The coarse stage does not run in a region of interest.
    level = expected_level(predictions, seeds.bone, fine_weight=1.0)
    hints = VoxelHints(level, predictions.offsets_mm)
    numbers = assign_voxels(seeds.numbers, seeds.bone, hints, predictions.geometry.spacing_mm)
    labels = _sample_nearest(known.array, known.geometry, predictions.geometry)
    containing = _containing_target(labels, numbers, seeds.target)
    existing = kept | ((known.array > 0) & ~np.isin(known.array, containing))
    existing_fine = _sample_nearest(existing, known.geometry, predictions.geometry)
    code = np.full(int(numbers.max()) + 1, UNKNOWN, np.int16)
    for number in range(1, len(code)):
        seed = seeds.numbers == number
        if 2 * int((seed & existing_fine).sum()) > int(seed.sum()):
            code[number] = EXISTING
    code[0], code[seeds.target] = 0, TARGET
    return _Assignment(code[numbers], np.where(existing, known.array, 0))


def _containing_target(labels: np.ndarray, numbers: np.ndarray, target: int) -> list[int]:
    """Return the label values of which a share above `_HELD` is assigned to the target."""
    sizes = np.bincount(labels.ravel())
    overlap = np.bincount(labels[numbers == target], minlength=len(sizes))
    return [value for value in range(1, len(sizes)) if overlap[value] > _HELD * sizes[value]]
