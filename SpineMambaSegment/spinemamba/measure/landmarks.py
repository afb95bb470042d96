"""Landmarks of a vertebra that do not depend on the orientation of the spine."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE, ORDER
from spinemamba.findings.level_flags import LIMITS
from spinemamba.imaging.volume import Volume

_SEARCH_MM = 2.0
_CORE = 0.45
"""Voxels deeper than this share of the greatest depth are core, as in the voxel predictions."""

_BODY_POWER = 3
_APART_MM = 10.0
"""Smallest distance along the spine between the cores of two vertebrae."""

_WIDE = ("C1", "Sacrum", "Coccyx")
"""Levels that may have several cores: lateral masses, sacral segments."""


@dataclass(frozen=True)
class Landmark:
    """Landmarks of a level.

    Attributes:
        name: Level.
        deep_lps_mm: Centre of the thickest part, inside the body, (3,).
        back_mm: Vector from there to the centroid of all voxels, LPS, (3,).
        volume_ml: Volume of the voxels.
        cut: Whether it is truncated.
        cores_lps_mm: Centroids of the large cores, largest first, (n, 3).
    """

    name: str
    deep_lps_mm: np.ndarray
    back_mm: np.ndarray
    volume_ml: float
    cut: bool
    cores_lps_mm: np.ndarray


def landmarks(labels: Volume, cut: Container[int]) -> list[Landmark]:
    """Return the landmarks of every level, from top to bottom.

    Args:
        labels: Label image in canonical orientation.
        cut: Label values of the truncated levels.
    """
    boxes = ndimage.find_objects(labels.array, max_label=max(BY_VALUE))
    by_value = {v: b for v, b in enumerate(boxes, start=1) if b is not None and v in BY_VALUE}
    marks = [_landmark(labels, value, box, value in cut) for value, box in by_value.items()]
    return sorted(marks, key=lambda mark: ORDER[mark.name])


def _landmark(labels: Volume, value: int, box: tuple[slice, ...], cut: bool) -> Landmark:
    name = BY_VALUE[value].name
    mask = labels.array[box] == value
    corner = [part.start for part in box]
    volume_ml = float(mask.sum()) * labels.geometry.voxel_ml
    steps = np.array([max(1, round(_SEARCH_MM / s)) for s in labels.spacing_mm])
    small = mask[:: steps[0], :: steps[1], :: steps[2]]
    if not small.any():  # thinner than the subsampling
        steps, small = np.ones(3, int), mask
    inside = np.pad(small, 1)
    depth = ndimage.distance_transform_edt(inside, sampling=labels.spacing_mm * steps)

    def place(index: np.ndarray) -> np.ndarray:
        return labels.geometry.to_lps_mm((index - 1) * steps + corner)

    index = np.argwhere(inside)
    weight = depth[tuple(index.T)] ** _BODY_POWER
    thick = place((index * weight[:, None]).sum(axis=0) / weight.sum())
    back = place(index.mean(axis=0)) - thick
    return Landmark(name, thick, back, volume_ml, cut, place(_cores(depth)))


def _cores(depth: np.ndarray) -> np.ndarray:
    """Return the centroids of the large cores, largest first, (n, 3) indices."""
    core = depth > _CORE * depth.max()
    pieces, _ = ndimage.label(core)
    sizes = np.bincount(pieces.ravel())[1:]
    large = [k for k in np.argsort(-sizes) if sizes[k] >= LIMITS.two_cores * sizes.max()]
    return np.array(ndimage.center_of_mass(core, pieces, [k + 1 for k in large]))


def has_two_bodies(mark: Landmark, up: np.ndarray) -> bool:
    """Return whether a label contains two bodies, one above the other.

    Args:
        mark: Landmarks of the label.
        up: Direction of the spine, (3,).
    """
    if mark.name in _WIDE or len(mark.cores_lps_mm) < 2:
        return False
    offset = mark.cores_lps_mm[0] - mark.cores_lps_mm[1]
    along = abs(float(offset @ up))
    across = float(np.linalg.norm(offset - (offset @ up) * up))
    return along >= _APART_MM and along >= across
