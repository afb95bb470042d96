"""Quality flags from the voxels of vertebrae, and of the orientation of the patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.findings.level_flags import LIMITS, QualityLimits, back_to_front, upside_down
from spinemamba.imaging.masks import pieces_of
from spinemamba.imaging.truncation import FieldOfView
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import Instances
from spinemamba.protocol.flags import Flag

SHAPE_FLAGS = ("several_pieces", "hole", "two_cores", "asymmetry", "metal")
"""Flags of a single vertebra that make its measurements less certain."""


@dataclass(frozen=True)
class ShapeFlags:
    """Quality flags from voxels.

    Attributes:
        by_number: Flags by instance number.
        scan: Flags of the whole scan.
    """

    by_number: Mapping[int, tuple[Flag, ...]]
    scan: tuple[Flag, ...]


def shape_flags(
    instances: Instances, predictions: VoxelPredictions, limits: QualityLimits = LIMITS
) -> ShapeFlags:
    """Return the quality flags from the voxels of every vertebra.

    Args:
        instances: Instances on the grid of the predictions.
        predictions: Voxel predictions.
        limits: Thresholds.
    """
    by_number: dict[int, tuple[Flag, ...]] = {}
    back_mm = []
    boxes = ndimage.find_objects(instances.labels)
    for item in instances.items:
        box = boxes[item.id - 1]
        mask = instances.labels[box] == item.id
        core = mask & (predictions.core[box] > limits.core_threshold)
        flags: list[Flag | None] = [*mask_flags(mask, limits)]
        if not item.is_sacrum:
            flags.append(_two_cores(core, limits))
            if not item.cut_sides and core.any():
                flags.append(_asymmetry(mask, core, limits))
                offset = np.argwhere(mask).mean(axis=0) - np.argwhere(core).mean(axis=0)
                back_mm.append(float(offset[1] * predictions.geometry.spacing_mm[1]))
        by_number[item.id] = tuple(flag for flag in flags if flag is not None)
    probabilities = [item.level_probabilities for item in instances.items if not item.is_sacrum]
    levels = np.reshape(probabilities, (-1, len(NETWORK_LEVELS))) @ np.arange(len(NETWORK_LEVELS))
    missing = _missing_slices(predictions.field_of_view)
    scan = (missing, back_to_front(back_mm, limits), upside_down(levels, limits))
    return ShapeFlags(by_number, tuple(flag for flag in scan if flag is not None))


def mask_flags(mask: np.ndarray, limits: QualityLimits = LIMITS) -> tuple[Flag, ...]:
    """Return the flags that need only the mask of a vertebra, bool (z, y, x)."""
    flags = (_pieces(mask, limits), _hole(mask, limits))
    return tuple(flag for flag in flags if flag is not None)


def with_metal(
    shape: ShapeFlags,
    image_hu: np.ndarray,
    labels: np.ndarray,
    values: Mapping[int, int],
    voxel_ml: float,
) -> ShapeFlags:
    """Return the flags with those of vertebrae that contain metal added.

    Args:
        shape: Flags without metal.
        image_hu: CT, HU, (z, y, x).
        labels: Label values on the same grid, (z, y, x).
        values: Label value of each instance number.
        voxel_ml: Volume of a voxel.
    """
    bright = labels[image_hu > LIMITS.metal_hu]
    volumes_ml = np.bincount(bright, minlength=256) * voxel_ml
    by_number = dict(shape.by_number)
    for number, value in values.items():
        if (ml := float(volumes_ml[value])) > LIMITS.metal_ml:
            flag = Flag("metal", ml, f"Metal ({ml:.1f} mL brighter than any bone).")
            by_number[number] = (*by_number.get(number, ()), flag)
    return ShapeFlags(by_number, shape.scan)


def _pieces(mask: np.ndarray, limits: QualityLimits) -> Flag | None:
    sizes = np.sort(pieces_of(mask, by_corners=True)[1])[::-1] / mask.sum()
    large = int((sizes > limits.several_pieces).sum())
    if large < 2:
        return None
    share = float(1 - sizes[0])
    return Flag(
        "several_pieces",
        share,
        f"In {large} pieces that share no corner of a voxel ({100 * share:.0f} % lie apart).",
    )


def _hole(mask: np.ndarray, limits: QualityLimits) -> Flag | None:
    share = float((ndimage.binary_fill_holes(mask) & ~mask).sum() / mask.sum())
    if share <= limits.hole:
        return None
    return Flag("hole", share, f"Has a hole ({100 * share:.0f} % of its volume).")


def _two_cores(core: np.ndarray, limits: QualityLimits) -> Flag | None:
    pieces, sizes = pieces_of(core)
    if len(sizes) < 2:
        return None
    first, second = np.argsort(-sizes)[:2] + 1
    share = float(sizes[second - 1] / sizes[first - 1])
    centres = np.array(ndimage.center_of_mass(core, pieces, [first, second]))
    offset = np.abs(centres[0] - centres[1])
    # The two lateral masses of C1 are side by side.
    if share <= limits.two_cores or offset[0] < offset[2]:
        return None
    return Flag("two_cores", share, "Two bodies in one: it may be two vertebrae.")


def _asymmetry(mask: np.ndarray, core: np.ndarray, limits: QualityLimits) -> Flag | None:
    """Return a flag of asymmetry with respect to the best of several rotated planes, or None."""
    middle = np.argwhere(core).mean(axis=0)
    _, back, aside = (np.argwhere(mask) - middle).T
    shares = []
    for angle in np.radians(limits.symmetry_planes_deg):
        lateral = aside * np.cos(angle) - back * np.sin(angle)
        left, right = float((lateral > 0.5).sum()), float((lateral < -0.5).sum())
        shares.append(abs(left - right) / max(left + right, 1.0))
    share = min(shares)
    if share <= limits.asymmetry:
        return None
    return Flag("asymmetry", share, f"Left and right differ by {100 * share:.0f} % in volume.")


def _missing_slices(view: FieldOfView) -> Flag | None:
    count = max(int(gaps.sum()) for gaps in view.gaps)
    if not count:
        return None
    sentence = (
        f"{count} layers in the middle of the image hold one value only: are slices missing? "
        "Vertebrae there count as cut by the image."
    )
    return Flag("missing_slices", float(count), sentence)
