"""Initial position and axes of each vertebral body, for the exact search in `body`."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE, ORDER
from spinemamba.imaging.volume import Volume
from spinemamba.measure.frame import Frame, Patch, unit

_SEARCH_MM = 1.5
_BODY_POWER = 3
_FRONT_MM = 12.0
"""Decay length of the weight towards the back, because bodies are anterior."""

_HEAD, _BACK = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
"""Superior and posterior direction of the patient, in LPS."""

_ODD = ("C1", "Sacrum", "Coccyx")
"""Levels whose thickest part is not on the line of the bodies."""

_MIDLINE_MM = 8.0
"""Distance from the midline where the weight falls to 1/e; in the neck, the articular pillars are
as thick as the bodies."""


def patches_of(
    labels: Volume, sides: Mapping[int, Collection[str]] | None = None
) -> dict[int, Patch]:
    """Return the patch of each level in the labels, by label value, from top to bottom.

    Args:
        labels: Label image in canonical orientation.
        sides: Sides at which each vertebra is truncated, by label value.
    """
    sides = sides or {}
    boxes = ndimage.find_objects(labels.array, max_label=max(BY_VALUE))
    by_value = {v: b for v, b in enumerate(boxes, start=1) if b is not None and v in BY_VALUE}
    order = sorted(by_value, key=lambda value: ORDER[BY_VALUE[value].name])
    return {v: Patch.of(labels, v, by_value[v], sides.get(v, ())) for v in order}


def initial_frames(patches: dict[int, Patch], cut: Container[int] = ()) -> dict[int, Frame]:
    """Return a frame within each body, by label value, from top to bottom.

    The superior axis follows the line through the neighbouring bodies; the posterior axis points to
    the centroid of the vertebra. Truncated vertebrae are not used for either.

    Args:
        patches: Patches from `patches_of`.
        cut: Label values of the truncated vertebrae.
    """
    values = list(patches)
    centres, middles = {}, {}
    for value, patch in patches.items():
        centres[value], middles[value] = _centre(patch)
    sure = [v for v in values if v not in cut and BY_VALUE[v].name not in _ODD]
    frames = {}
    for k, value in enumerate(values):
        above, below = _beside(values, sure, k)
        up = _HEAD if above == below else unit(centres[above] - centres[below])
        behind = middles[value] - centres[value]
        behind = behind - (behind @ up) * up
        backward = behind @ _BACK > 0 and value not in cut
        frames[value] = Frame.along(centres[value], up, behind if backward else _BACK)
    return frames


def _beside(values: list[int], sure: list[int], k: int) -> tuple[int, int]:
    """Return two reliable vertebrae around or near the k-th one; or the k-th one twice."""
    indices = [values.index(value) for value in sure]
    upper = [index for index in indices if index < k][-1:]
    lower = [index for index in indices if index > k][:1]
    this = [k] if values[k] in sure else []
    around = [*upper, *this, *lower]
    if len(around) < 2:
        around = sorted(sorted(indices, key=lambda index: abs(index - k))[:2])
    if len(around) < 2:
        return values[k], values[k]
    return values[around[0]], values[around[-1]]


def _centre(patch: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted centre of the thick anterior part, and the centroid of the vertebra."""
    steps = [max(1, round(_SEARCH_MM / s)) for s in patch.geometry.spacing_mm]
    inside = np.pad(patch.inside[:: steps[0], :: steps[1], :: steps[2]] > 0.5, 1)
    spacing = np.asarray(patch.geometry.spacing_mm) * steps
    depth = ndimage.distance_transform_edt(inside, sampling=spacing)
    index = np.argwhere(inside)
    places = patch.geometry.to_lps_mm((index - 1) * steps)
    middle = places.mean(axis=0)
    behind_mm = places[:, 1] - places[:, 1].min()
    aside = (places[:, 0] - middle[0]) / _MIDLINE_MM
    weight = depth[tuple(index.T)] ** _BODY_POWER * np.exp(-behind_mm / _FRONT_MM - aside**2)
    return (places * weight[:, None]).sum(axis=0) / weight.sum(), middle
