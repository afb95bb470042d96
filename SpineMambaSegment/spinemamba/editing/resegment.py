"""Re-segment one vertebra, or segment one that was missed.

The user gives a point. The fine network runs in a box around it, with the vertebra in the centre
of its windows. The existing labels of the neighbours limit the new vertebra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import Code, UserError
from spinemamba.common.progress import Progress, ignore
from spinemamba.editing.assignment import assign_bone
from spinemamba.editing.outline import TARGET, outline
from spinemamba.editing.seeds import box_seeds
from spinemamba.imaging.curved_planar import trace_spine
from spinemamba.imaging.intensity import Modality, normalise
from spinemamba.imaging.orientation import canonical, reorient_back
from spinemamba.imaging.resample import crop_geometry, grid_with_spacing
from spinemamba.imaging.truncation import crop_to_data, crop_volume, cut_sides, pad_to_image
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.coarse import CoarsePrediction
from spinemamba.inference.fine import FineOptions, fine_stage
from spinemamba.inference.model import LoadedNetwork
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import InstanceOptions, pooled_level

HALF_MM = {"z": (45.0, 45.0), "y": (40.0, 85.0), "x": (60.0, 60.0)}
"""Extent of the box around the centre of a body, larger than any vertebra: below and above, front
and back, right and left. The network sees 10 mm more."""

CORRIDOR_MM = 4.0
"""Voxel size of the mask of the box, which replaces the output of the coarse stage."""

_FINE_OPTIONS = FineOptions(window_overlap=0.5)
"""The overlap of the sliding windows is larger than in a run over the whole image."""


@dataclass(frozen=True)
class BoxQuestion:
    """The vertebra to segment.

    Attributes:
        place_lps_mm: A point in its body; None for the centre of the body of ``again``.
        again: Label value of the vertebra to re-segment; 0 for one that was missed.
        keep: Label values whose voxels are not overwritten. A re-segmented vertebra never
            overwrites a neighbour.
    """

    place_lps_mm: tuple[float, float, float] | None = None
    again: int = 0
    keep: tuple[int, ...] = ()


@dataclass(frozen=True)
class BoxAnswer:
    """The segmented vertebra.

    Attributes:
        mask: Mask, uint8, on the grid of the image.
        place_lps_mm: The point from which it was segmented.
        evidence: Level probabilities (`NETWORK_LEVELS`), mean over its voxels.
        cut_sides: Sides at which the field of view truncates it.
        seeded: Whether the point replaced a core that the network missed.
    """

    mask: Volume
    place_lps_mm: tuple[float, float, float]
    evidence: tuple[float, ...]
    cut_sides: tuple[str, ...]
    seeded: bool


def segment_in_box(
    image: Volume,
    labels: Volume | None,
    question: BoxQuestion,
    model: tuple[LoadedNetwork, Modality],
    progress: Progress = ignore,
) -> BoxAnswer:
    """Segment one vertebra in a box.

    Args:
        image: CT in Hounsfield units, or MR, in any orientation.
        labels: Existing label values on the same grid, if any.
        question: The vertebra to segment.
        model: The fine network, and the modality of the image.
        progress: Called often; may stop the work by raising `Cancelled`.

    Raises:
        UserError: If the point is outside of the image or the labels lack the vertebra
            (INPUT_BAD), or there is no vertebra at the point (NO_SPINE).
    """
    whole, turned = canonical(image)
    known = whole.with_array(_known(labels, whole))
    # As in `segment`, the networks do not see padding.
    upright, view, part = crop_to_data(whole)
    known = crop_volume(known, part)
    place_lps_mm = _place(question, known)
    network, modality = model
    box = _box(upright.geometry, place_lps_mm)
    normal = upright.with_array(normalise(upright.array, modality))
    coarse = _located(upright.geometry, box)
    predictions = fine_stage(normal, coarse, network, progress, _FINE_OPTIONS)
    progress("instances", 0.0)
    kept = _kept(known.array, question)
    others = known.with_array(np.where(known.array == question.again, 0, known.array))
    seeds = box_seeds(predictions, others, kept, place_lps_mm)
    assignment = assign_bone(seeds, predictions, others, kept)
    progress("instances", 1.0)
    mask = outline(normal, predictions, assignment.parts, assignment.neighbours)
    progress("restore", 1.0)
    _check_size(mask, upright.geometry, place_lps_mm)
    return BoxAnswer(
        mask=reorient_back(pad_to_image(mask.astype(np.uint8), whole, part), turned),
        place_lps_mm=place_lps_mm,
        evidence=_level_probabilities(predictions, assignment.parts == TARGET),
        cut_sides=cut_sides(np.argwhere(mask), upright.geometry, view),
        seeded=seeds.from_place,
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


def _place(question: BoxQuestion, known: Volume) -> tuple[float, float, float]:
    """Return the centre of the box, and check that it is in the image."""
    if question.again and not (known.array == question.again).any():
        raise UserError(
            f"The labels have no vertebra with the value {question.again}.",
            "Choose an existing vertebra, or a point.",
        )
    if question.place_lps_mm is None:
        alone = known.with_array(np.where(known.array == question.again, known.array, 0))
        body_mm = trace_spine(alone).bodies_mm[question.again]
        at = known.geometry.to_lps_mm(body_mm / np.asarray(known.spacing_mm))
        return tuple(float(v) for v in at)
    index = known.geometry.to_index_zyx(np.asarray(question.place_lps_mm))
    if (index < -0.5).any() or (index > np.asarray(known.array.shape) - 0.5).any():
        x, y, z = question.place_lps_mm
        raise UserError(
            f"The point {x:g}, {y:g}, {z:g} is outside of the image.",
            "Give a point in the image, in LPS millimetres.",
        )
    return question.place_lps_mm


def _kept(known: np.ndarray, question: BoxQuestion) -> np.ndarray:
    """Return the mask of voxels that must not be overwritten."""
    if question.again:
        return (known != 0) & (known != question.again)
    return np.isin(known, question.keep)


def _box(image: Geometry, place_lps_mm: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    """Return the box of an image around a point."""
    centre = image.to_index_zyx(np.asarray(place_lps_mm))
    sides = []
    for k, (low_mm, high_mm) in enumerate(HALF_MM.values()):
        first = int(centre[k] - low_mm / image.spacing_mm[k])
        stop = int(centre[k] + high_mm / image.spacing_mm[k]) + 1
        sides.append(slice(max(0, first), min(image.shape[k], stop)))
    return sides[0], sides[1], sides[2]


def _located(image: Geometry, box: tuple[slice, slice, slice]) -> CoarsePrediction:
    """Return a box as output of the coarse stage, with uniform level probabilities."""
    grid = grid_with_spacing(crop_geometry(image, box), CORRIDOR_MM)
    uniform = np.full((len(NETWORK_LEVELS), *grid.shape), 1 / len(NETWORK_LEVELS), np.float32)
    ones = np.ones(grid.shape, np.float32)
    return CoarsePrediction(np.ones(grid.shape, bool), ones, uniform, grid)


def _check_size(
    mask: np.ndarray, geometry: Geometry, place_lps_mm: tuple[float, float, float]
) -> None:
    volume_ml = float(mask.sum()) * geometry.voxel_ml
    least_ml = InstanceOptions.least_instance_ml
    if volume_ml < least_ml:
        x, y, z = place_lps_mm
        raise UserError(
            f"No vertebra found at {x:.0f}, {y:.0f}, {z:.0f}: only {volume_ml:.1f} mL of bone, at "
            f"least {least_ml:g} mL are needed.",
            "Give a point in the centre of the body that is not in an approved vertebra.",
            Code.NO_SPINE,
        )


def _level_probabilities(predictions: VoxelPredictions, target: np.ndarray) -> tuple[float, ...]:
    levels = range(len(NETWORK_LEVELS))
    return tuple(float(pooled_level(predictions, level)[target].mean()) for level in levels)
