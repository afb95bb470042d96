"""Re-segment one vertebra, or segment one that was missed.

The user gives a point. The fine network runs in a region of interest around it, with the vertebra
in the centre of its windows. The existing labels of the neighbours limit the new vertebra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import Code, UserError
from spinemamba.common.progress import Progress, ignore
from spinemamba.editing.assignment import TARGET, assign_bone, find_seeds
from spinemamba.editing.outline import outline
from spinemamba.imaging.curved_planar import trace_spine
from spinemamba.imaging.intensity import Modality
from spinemamba.imaging.local_mean import normalise_volume
from spinemamba.imaging.orientation import canonical, reorient_back
from spinemamba.imaging.resample import crop_geometry, grid_with_spacing
from spinemamba.imaging.truncation import crop_to_data, crop_volume, cut_sides, pad_to_image
from spinemamba.imaging.volume import Box, Geometry, Volume
from spinemamba.inference.coarse import CoarsePrediction
from spinemamba.inference.fine import FineOptions, fine_stage
from spinemamba.inference.model import LoadedNetwork
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import InstanceOptions, pooled_level

_REGION_MM = {"z": (45.0, 45.0), "y": (40.0, 85.0), "x": (60.0, 60.0)}
"""Extent of the region of interest around the centre of a body, larger than any vertebra: below and
above, front and back, right and left. The network sees 10 mm more."""

_REGION_SPACING_MM = 4.0
"""Voxel size of the mask of the region, which replaces the output of the coarse stage."""

_FINE_OPTIONS = FineOptions(window_overlap=0.5)
"""The overlap of the sliding windows is larger than in a run over the whole image."""


@dataclass(frozen=True)
class TargetVertebra:
    """The vertebra to segment.

    Attributes:
        point_lps_mm: A point in its body; None for the centre of the body of ``value``.
        value: Label value of the vertebra to re-segment; 0 for one that was missed.
        keep: Label values whose voxels are not overwritten. A re-segmented vertebra never
            overwrites a neighbour.
    """

    point_lps_mm: tuple[float, float, float] | None = None
    value: int = 0
    keep: tuple[int, ...] = ()


@dataclass(frozen=True)
class SegmentedVertebra:
    """The segmented vertebra.

    Attributes:
        mask: Mask, uint8, on the grid of the image.
        point_lps_mm: The point from which it was segmented.
        level_probabilities: Mean probability of each of `NETWORK_LEVELS` over its voxels.
        cut_sides: Sides at which the field of view truncates it.
        seeded: Whether the point replaced a core that the network missed.
    """

    mask: Volume
    point_lps_mm: tuple[float, float, float]
    level_probabilities: tuple[float, ...]
    cut_sides: tuple[str, ...]
    seeded: bool


def resegment_vertebra(
    image: Volume,
    labels: Volume | None,
    target: TargetVertebra,
    model: tuple[LoadedNetwork, Modality],
    progress: Progress = ignore,
) -> SegmentedVertebra:
    """Segment one vertebra in a region of interest.

    Args:
        image: CT in Hounsfield units, or MR, in any orientation.
        labels: Existing label values on the same grid, if any.
        target: The vertebra to segment.
        model: The fine network, and the modality of the image.
        progress: Called often; may stop the work by raising `Cancelled`.

    Raises:
        UserError: If the point is outside of the image or the labels lack the vertebra
            (INPUT_BAD), or there is no vertebra at the point (NO_SPINE).
    """
    whole, reorientation = canonical(image)
    known = whole.with_array(_known(labels, whole))
    # As in `segment`, the networks do not see padding.
    upright, view, part = crop_to_data(whole)
    known = crop_volume(known, part)
    point_lps_mm = _target_point(target, known)
    network, modality = model
    region = _region_of_interest(upright.geometry, point_lps_mm)
    normal = normalise_volume(upright, modality, network.normalisation)
    corridor = _as_corridor(upright.geometry, region)
    predictions = fine_stage(normal, corridor, network, progress, _FINE_OPTIONS)
    progress("instances", 0.0)
    kept = _kept(known.array, target)
    others = known.with_array(np.where(known.array == target.value, 0, known.array))
    seeds = find_seeds(predictions, others, kept, point_lps_mm)
    assignment = assign_bone(seeds, predictions, others, kept)
    progress("instances", 1.0)
    mask = outline(normal, predictions, assignment.parts, assignment.neighbours)
    progress("restore", 1.0)
    _check_size(mask, upright.geometry, point_lps_mm)
    return SegmentedVertebra(
        mask=reorient_back(pad_to_image(mask.astype(np.uint8), whole, part), reorientation),
        point_lps_mm=point_lps_mm,
        level_probabilities=_level_probabilities(predictions, assignment.parts == TARGET),
        cut_sides=cut_sides(np.argwhere(mask), upright.geometry, view),
        seeded=seeds.from_point,
    )


def _known(labels: Volume | None, upright: Volume) -> np.ndarray:
    """Return the existing label values on the canonical grid."""
    if labels is None:
        return np.zeros(upright.array.shape, np.uint8)
    known = canonical(labels)[0]
    if difference := upright.geometry.difference(known.geometry):
        raise UserError(
            f"The labels are not on the grid of the image: {difference}.",
            "Give labels of this image, at its full resolution.",
        )
    return known.array.astype(np.uint8)


def _target_point(target: TargetVertebra, known: Volume) -> tuple[float, float, float]:
    """Return the centre of the region, and check that it is in the image."""
    if target.value and not (known.array == target.value).any():
        raise UserError(
            f"The labels have no vertebra with the value {target.value}.",
            "Choose an existing vertebra, or a point.",
        )
    if target.point_lps_mm is None:
        alone = known.with_array(np.where(known.array == target.value, known.array, 0))
        body_mm = trace_spine(alone).bodies_mm[target.value]
        at = known.geometry.to_lps_mm(body_mm / np.asarray(known.spacing_mm))
        return tuple(float(v) for v in at)
    index = known.geometry.to_index_zyx(np.asarray(target.point_lps_mm))
    if (index < -0.5).any() or (index > np.asarray(known.array.shape) - 0.5).any():
        x, y, z = target.point_lps_mm
        raise UserError(
            f"The point {x:g}, {y:g}, {z:g} is outside of the image.",
            "Give a point in the image, in LPS millimetres.",
        )
    return target.point_lps_mm


def _kept(known: np.ndarray, target: TargetVertebra) -> np.ndarray:
    """Return the mask of voxels that must not be overwritten."""
    if target.value:
        return (known != 0) & (known != target.value)
    return np.isin(known, target.keep)


def _region_of_interest(image: Geometry, point_lps_mm: tuple[float, float, float]) -> Box:
    """Return the region of interest around a point."""
    centre = image.to_index_zyx(np.asarray(point_lps_mm))
    sides = []
    for k, (low_mm, high_mm) in enumerate(_REGION_MM.values()):
        first = int(centre[k] - low_mm / image.spacing_mm[k])
        stop = int(centre[k] + high_mm / image.spacing_mm[k]) + 1
        sides.append(slice(max(0, first), min(image.shape[k], stop)))
    return sides[0], sides[1], sides[2]


def _as_corridor(image: Geometry, region: Box) -> CoarsePrediction:
    """Return a region as output of the coarse stage, with uniform level probabilities."""
    grid = grid_with_spacing(crop_geometry(image, region), _REGION_SPACING_MM)
    uniform = np.full((len(NETWORK_LEVELS), *grid.shape), 1 / len(NETWORK_LEVELS), np.float32)
    ones = np.ones(grid.shape, np.float32)
    return CoarsePrediction(np.ones(grid.shape, bool), ones, uniform, grid)


def _check_size(
    mask: np.ndarray, geometry: Geometry, point_lps_mm: tuple[float, float, float]
) -> None:
    volume_ml = float(mask.sum()) * geometry.voxel_ml
    least_ml = InstanceOptions.least_instance_ml
    if volume_ml < least_ml:
        x, y, z = point_lps_mm
        raise UserError(
            f"No vertebra found at {x:.0f}, {y:.0f}, {z:.0f}: only {volume_ml:.1f} mL of bone, at "
            f"least {least_ml:g} mL are needed.",
            "Give a point in the centre of the body that is not in an approved vertebra.",
            Code.NO_SPINE,
        )


def _level_probabilities(predictions: VoxelPredictions, target: np.ndarray) -> tuple[float, ...]:
    levels = range(len(NETWORK_LEVELS))
    return tuple(float(pooled_level(predictions, level)[target].mean()) for level in levels)
