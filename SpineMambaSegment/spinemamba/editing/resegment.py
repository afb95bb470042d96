"""One vertebra in a box: found anew, or found where it was missed.

A person says where. The fine network looks at a box around that place, with the vertebra in the
middle of its windows; what is known of the neighbours keeps it from growing into them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import Code, UserError
from spinemamba.common.progress import Progress, ignore
from spinemamba.editing.assignment import box_parts
from spinemamba.editing.outline import OWN, outline
from spinemamba.editing.seeds import box_seeds
from spinemamba.imaging.curved_planar import trace_spine
from spinemamba.imaging.intensity import Modality, normalise
from spinemamba.imaging.orientation import canonical, reorient_back
from spinemamba.imaging.resample import crop_geometry, grid_with_spacing
from spinemamba.imaging.truncation import crop_to_data, crop_volume, cut_sides, pad_to_image
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.coarse import Located
from spinemamba.inference.fine import refine
from spinemamba.inference.model import LoadedNetwork
from spinemamba.inference.voxel_predictions import Evidence
from spinemamba.instances.find import InstanceOptions, pooled_level

HALF_MM = {"z": (45.0, 45.0), "y": (40.0, 85.0), "x": (60.0, 60.0)}
"""From the middle of a body to where no vertebra reaches: down and up, to the front and back, to
the sides. The network sees 10 mm more."""

CORRIDOR_MM = 4.0
"""Voxel size of the box's mask; what the fine pass gets from the coarse one at other times."""

OVERLAP = 0.5
"""Share of a window that its neighbour also covers: more than in a run over the whole image."""


@dataclass(frozen=True)
class BoxQuestion:
    """Which vertebra is wanted.

    Attributes:
        place_lps_mm: A place in its body; None for the body of ``again``.
        again: Value of the vertebra that shall be found anew; 0 for one that was missed.
        keep: Values whose voxels it must not take. Found anew, it takes those of no neighbour.
    """

    place_lps_mm: tuple[float, float, float] | None = None
    again: int = 0
    keep: tuple[int, ...] = ()


@dataclass(frozen=True)
class BoxAnswer:
    """The vertebra that was found.

    Attributes:
        mask: 1 where it is, uint8, on the voxels of the image.
        place_lps_mm: Where it was looked for.
        evidence: Probability of each of `NETWORK_LEVELS`, mean over its voxels.
        cut_sides: Sides of the image that cut it.
        seeded: Whether the place had to stand for a body core that the network missed.
    """

    mask: Volume
    place_lps_mm: tuple[float, float, float]
    evidence: tuple[float, ...]
    cut_sides: tuple[str, ...]
    seeded: bool


def look_in_box(
    image: Volume,
    labels: Volume | None,
    question: BoxQuestion,
    model: tuple[LoadedNetwork, Modality],
    progress: Progress = ignore,
) -> BoxAnswer:
    """Find one vertebra.

    Args:
        image: CT in Hounsfield units, or MR, in any orientation.
        labels: Label values that are there, on the same voxels; None for none.
        question: Which vertebra.
        model: The fine network, and what kind of image it gets.
        progress: Called often; may stop the work by raising `Cancelled`.

    Raises:
        UserError: If the place lies outside of the image or the labels lack the vertebra
            (INPUT_BAD), or there is no vertebra at the place (NO_SPINE).
    """
    whole, turned = canonical(image)
    known = whole.with_array(_known(labels, whole))
    # As in `segment`: the networks do not see padding.
    upright, view, part = crop_to_data(whole)
    known = crop_volume(known, part)
    place_lps_mm = _place(question, known)
    network, modality = model
    box = _box(upright.geometry, place_lps_mm)
    normal = upright.with_array(normalise(upright.array, modality))
    evidence = refine(normal, _located(upright.geometry, box), network, OVERLAP, progress)
    progress("instances", 0.0)
    kept = _kept(known.array, question)
    others = known.with_array(np.where(known.array == question.again, 0, known.array))
    seeds = box_seeds(evidence, others, kept, place_lps_mm)
    found = box_parts(seeds, evidence, others, kept)
    progress("instances", 1.0)
    mask = outline(normal, evidence, found.parts, found.there)
    progress("restore", 1.0)
    _check_size(mask, upright.geometry, place_lps_mm)
    return BoxAnswer(
        mask=reorient_back(pad_to_image(mask.astype(np.uint8), whole, part), turned),
        place_lps_mm=place_lps_mm,
        evidence=_level_evidence(evidence, found.parts == OWN),
        cut_sides=cut_sides(np.argwhere(mask), upright.geometry, view),
        seeded=seeds.from_place,
    )


def _known(labels: Volume | None, upright: Volume) -> np.ndarray:
    """Return the label values that are there on the canonical grid."""
    if labels is None:
        return np.zeros(upright.array.shape, np.uint8)
    known = canonical(labels)[0]
    if difference := upright.geometry.difference(known.geometry):
        raise UserError(
            f"The labels do not lie on the voxels of the image: {difference}.",
            "Give the labels of this very image, at its full resolution.",
        )
    return known.array.astype(np.uint8)


def _place(question: BoxQuestion, known: Volume) -> tuple[float, float, float]:
    """Return where to look, and check that it is in the image."""
    if question.again and not (known.array == question.again).any():
        raise UserError(
            f"The labels hold no vertebra of the value {question.again}.",
            "Choose a vertebra that is there, or a place.",
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
            f"The place {x:g}, {y:g}, {z:g} lies outside of the image.",
            "Give a place in the image, in LPS millimetres.",
        )
    return question.place_lps_mm


def _kept(known: np.ndarray, question: BoxQuestion) -> np.ndarray:
    """Return the voxels that the vertebra must not take."""
    if question.again:
        return (known != 0) & (known != question.again)
    return np.isin(known, question.keep)


def _box(image: Geometry, place_lps_mm: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    """Return the voxels of an image around a place."""
    centre = image.to_index_zyx(np.asarray(place_lps_mm))
    sides = []
    for k, (low_mm, high_mm) in enumerate(HALF_MM.values()):
        first = int(centre[k] - low_mm / image.spacing_mm[k])
        stop = int(centre[k] + high_mm / image.spacing_mm[k]) + 1
        sides.append(slice(max(0, first), min(image.shape[k], stop)))
    return sides[0], sides[1], sides[2]


def _located(image: Geometry, box: tuple[slice, slice, slice]) -> Located:
    """Return a box as the answer of a coarse pass that knows where, and nothing of levels."""
    grid = grid_with_spacing(crop_geometry(image, box), CORRIDOR_MM)
    even = np.full((len(NETWORK_LEVELS), *grid.shape), 1 / len(NETWORK_LEVELS), np.float32)
    return Located(np.ones(grid.shape, bool), np.ones(grid.shape, np.float32), even, grid)


def _check_size(
    mask: np.ndarray, geometry: Geometry, place_lps_mm: tuple[float, float, float]
) -> None:
    volume_ml = float(mask.sum()) * geometry.voxel_ml
    least_ml = InstanceOptions().least_instance_ml
    if volume_ml < least_ml:
        x, y, z = place_lps_mm
        raise UserError(
            f"No vertebra found at {x:.0f}, {y:.0f}, {z:.0f}: {volume_ml:.1f} mL look like one, "
            f"at least {least_ml:g} mL are needed.",
            "Give a place in the middle of the vertebra's body that no approved vertebra holds.",
            Code.NO_SPINE,
        )


def _level_evidence(evidence: Evidence, own: np.ndarray) -> tuple[float, ...]:
    places = range(len(NETWORK_LEVELS))
    return tuple(float(pooled_level(evidence, place)[own].mean()) for place in places)
