"""A vertebra's body and its back, found without knowing which way the spine stands."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE, ORDER
from spinemamba.findings.level_flags import LIMITS
from spinemamba.imaging.volume import Volume

SEARCH_MM = 2.0
CORE = 0.45
"""A core is what lies deeper than this share of the greatest depth; as `Evidence.core`."""

BODY_POWER = 3
APART_MM = 10.0
"""Cores of two vertebrae lie at least so far apart along the spine."""

WIDE = ("C1", "Sacrum", "Coccyx")
"""Levels that may have several cores: lateral masses, pieces of the sacrum."""


@dataclass(frozen=True)
class Landmark:
    """Where a level lies.

    Attributes:
        name: Level.
        deep_lps_mm: Middle of its thickest part: in the body, (3,).
        back_mm: Way from there to the middle of all its voxels, LPS, (3,).
        volume_ml: Of its voxels.
        cut: Whether the image cuts it.
        cores_lps_mm: Middles of its cores that are large, the largest first, (n, 3).
    """

    name: str
    deep_lps_mm: np.ndarray
    back_mm: np.ndarray
    volume_ml: float
    cut: bool
    cores_lps_mm: np.ndarray


def landmarks(labels: Volume, cut: Container[int]) -> list[Landmark]:
    """Return the landmarks of every level, from head to tail.

    Args:
        labels: Label values in canonical orientation.
        cut: Label values of the levels that the image cuts.
    """
    boxes = ndimage.find_objects(labels.array, max_label=max(BY_VALUE))
    found = {v: box for v, box in enumerate(boxes, start=1) if box is not None and v in BY_VALUE}
    marks = [_landmark(labels, value, box, value in cut) for value, box in found.items()]
    return sorted(marks, key=lambda mark: ORDER[mark.name])


def _landmark(labels: Volume, value: int, box: tuple[slice, ...], cut: bool) -> Landmark:
    name = BY_VALUE[value].name
    mask = labels.array[box] == value
    corner = [part.start for part in box]
    volume_ml = float(mask.sum()) * float(np.prod(labels.spacing_mm)) / 1000
    steps = np.array([max(1, round(SEARCH_MM / s)) for s in labels.spacing_mm])
    small = mask[:: steps[0], :: steps[1], :: steps[2]]
    if not small.any():  # thinner than a step
        steps, small = np.ones(3, int), mask
    inside = np.pad(small, 1)
    depth = ndimage.distance_transform_edt(inside, sampling=labels.spacing_mm * steps)

    def place(index: np.ndarray) -> np.ndarray:
        return labels.geometry.to_lps_mm((index - 1) * steps + corner)

    index = np.argwhere(inside)
    weight = depth[tuple(index.T)] ** BODY_POWER
    thick = place((index * weight[:, None]).sum(axis=0) / weight.sum())
    back = place(index.mean(axis=0)) - thick
    return Landmark(name, thick, back, volume_ml, cut, place(_cores(depth)))


def _cores(depth: np.ndarray) -> np.ndarray:
    """Return the middles of the cores that are large, the largest first, (n, 3) indices."""
    core = depth > CORE * depth.max()
    pieces, _ = ndimage.label(core)
    sizes = np.bincount(pieces.ravel())[1:]
    large = [k for k in np.argsort(-sizes) if sizes[k] >= LIMITS.two_cores * sizes.max()]
    return np.array(ndimage.center_of_mass(core, pieces, [k + 1 for k in large]))


def doubled(mark: Landmark, up: np.ndarray) -> bool:
    """Return whether a label holds two bodies, one above the other.

    Args:
        mark: Of the label.
        up: Direction of the spine, (3,).
    """
    if mark.name in WIDE or len(mark.cores_lps_mm) < 2:
        return False
    way = mark.cores_lps_mm[0] - mark.cores_lps_mm[1]
    along = abs(float(way @ up))
    across = float(np.linalg.norm(way - (way @ up) * up))
    return along >= APART_MM and along >= across
