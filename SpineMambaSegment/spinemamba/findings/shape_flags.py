"""Reasons to look at a vertebra, or at the patient's position, that its voxels tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.findings.level_flags import LIMITS, QualityLimits
from spinemamba.findings.orientation_flags import back_to_front, upside_down
from spinemamba.imaging.masks import pieces_of
from spinemamba.imaging.truncation import FieldOfView
from spinemamba.inference.voxel_predictions import Evidence
from spinemamba.instances.find import Instances
from spinemamba.protocol.flags import Flag

CORE_THRESHOLD = 0.5
PLANES_DEG = (-10.0, 0.0, 10.0)
"""In a bent spine vertebrae turn about its axis."""


@dataclass(frozen=True)
class ShapeFlags:
    """Flags by the instance's number, and those that concern the whole scan."""

    by_number: Mapping[int, tuple[Flag, ...]]
    scan: tuple[Flag, ...]


def shape_flags(
    instances: Instances, evidence: Evidence, limits: QualityLimits = LIMITS
) -> ShapeFlags:
    """Look at the voxels of every vertebra.

    Args:
        instances: The vertebrae, on the evidence's grid.
        evidence: What the networks say.
        limits: Thresholds.
    """
    found: dict[int, tuple[Flag, ...]] = {}
    back_mm = []
    boxes = ndimage.find_objects(instances.labels)
    for item in instances.items:
        box = boxes[item.id - 1]
        mask = instances.labels[box] == item.id
        core = mask & (evidence.core[box] > CORE_THRESHOLD)
        flags = [_pieces(mask, limits), _hole(mask, limits)]
        if not item.is_sacrum:
            flags.append(_two_cores(core, limits))
            if not item.cut_sides and core.any():
                flags.append(_asymmetry(mask, core, limits))
                way = np.argwhere(mask).mean(axis=0) - np.argwhere(core).mean(axis=0)
                back_mm.append(float(way[1] * evidence.geometry.spacing_mm[1]))
        found[item.id] = tuple(flag for flag in flags if flag is not None)
    seen = [item.evidence for item in instances.items if not item.is_sacrum]
    levels = np.reshape(seen, (-1, len(NETWORK_LEVELS))) @ np.arange(len(NETWORK_LEVELS))
    missing = _missing_slices(evidence.field_of_view)
    scan = (missing, back_to_front(back_mm, limits), upside_down(levels, limits))
    return ShapeFlags(found, tuple(flag for flag in scan if flag is not None))


def with_metal(
    shape: ShapeFlags,
    image_hu: np.ndarray,
    labels: np.ndarray,
    values: Mapping[int, int],
    voxel_ml: float,
) -> ShapeFlags:
    """Return the flags with those of vertebrae that have metal in them.

    Args:
        shape: Flags without them.
        image_hu: CT, (z, y, x).
        labels: Label values on the same grid.
        values: Label value of each instance number.
        voxel_ml: Volume of a voxel.
    """
    bright = labels[image_hu > LIMITS.metal_hu]
    volumes_ml = np.bincount(bright, minlength=256) * voxel_ml
    by_number = dict(shape.by_number)
    for number, value in values.items():
        if (ml := float(volumes_ml[value])) > LIMITS.metal:
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
    apart = np.abs(centres[0] - centres[1])
    # The two lateral masses of an atlas lie beside each other.
    if share <= limits.two_cores or apart[0] < apart[2]:
        return None
    return Flag("two_cores", share, "Two bodies in one: it may be two vertebrae.")


def _asymmetry(mask: np.ndarray, core: np.ndarray, limits: QualityLimits) -> Flag | None:
    """Return how unlike the halves are; of planes turned a little, the one that suits best."""
    middle = np.argwhere(core).mean(axis=0)
    _, back, aside = (np.argwhere(mask) - middle).T
    shares = []
    for angle in np.radians(PLANES_DEG):
        beside = aside * np.cos(angle) - back * np.sin(angle)
        left, right = float((beside > 0.5).sum()), float((beside < -0.5).sum())
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
