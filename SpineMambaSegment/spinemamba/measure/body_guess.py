"""Where the bodies are, roughly: the start for finding each one exactly."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE, ORDER
from spinemamba.imaging.volume import Volume
from spinemamba.measure.frame import Frame, Patch, unit

SEARCH_MM = 1.5
BODY_POWER = 3
FRONT_MM = 12.0
"""Bodies lie in front: the weight falls by 1/e over so many mm towards the back."""

HEAD, BACK = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
"""Of the patient, in LPS."""

ODD = ("C1", "Sacrum", "Coccyx")
"""Levels whose thickest part lies off the line of the bodies."""

MIDLINE_MM = 8.0
"""And in the middle: in the neck, the joints' pillars are as thick as bodies."""


def patches_of(
    labels: Volume, sides: Mapping[int, Collection[str]] | None = None
) -> dict[int, Patch]:
    """Return the patch of each level that is there, by label value, from head to tail.

    Args:
        labels: In canonical orientation.
        sides: Sides at which the end of the data cuts each, by label value.
    """
    sides = sides or {}
    boxes = ndimage.find_objects(labels.array, max_label=max(BY_VALUE))
    found = {v: box for v, box in enumerate(boxes, start=1) if box is not None and v in BY_VALUE}
    order = sorted(found, key=lambda value: ORDER[BY_VALUE[value].name])
    return {value: Patch.of(labels, value, found[value], sides.get(value, ())) for value in order}


def start_frames(patches: dict[int, Patch], cut: Container[int] = ()) -> dict[int, Frame]:
    """Return a frame within each body, by label value, from head to tail.

    The axis up follows the line through the neighbours' bodies; posterior is where the rest of the
    vertebra lies. What is left of a cut vertebra says neither.

    Args:
        patches: From `patches_of`.
        cut: Label values of the vertebrae that the image cuts.
    """
    values = list(patches)
    centres, middles = {}, {}
    for value, patch in patches.items():
        centres[value], middles[value] = _centre(patch)
    sure = [v for v in values if v not in cut and BY_VALUE[v].name not in ODD]
    frames = {}
    for k, value in enumerate(values):
        above, below = _beside(values, sure, k)
        up = HEAD if above == below else unit(centres[above] - centres[below])
        behind = middles[value] - centres[value]
        behind = behind - (behind @ up) * up
        backward = behind @ BACK > 0 and value not in cut
        frames[value] = Frame.along(centres[value], up, behind if backward else BACK)
    return frames


def _beside(values: list[int], sure: list[int], k: int) -> tuple[int, int]:
    """Return two sure vertebrae around or next to the k-th one; the same one if there is none."""
    places = [values.index(value) for value in sure]
    upper = [place for place in places if place < k][-1:]
    lower = [place for place in places if place > k][:1]
    own = [k] if values[k] in sure else []
    around = [*upper, *own, *lower]
    if len(around) < 2:
        around = sorted(sorted(places, key=lambda place: abs(place - k))[:2])
    if len(around) < 2:
        return values[k], values[k]
    return values[around[0]], values[around[-1]]


def _centre(patch: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Return where a body is, deep and in front, and the middle of the whole vertebra."""
    steps = [max(1, round(SEARCH_MM / s)) for s in patch.geometry.spacing_mm]
    inside = np.pad(patch.inside[:: steps[0], :: steps[1], :: steps[2]] > 0.5, 1)
    spacing = np.asarray(patch.geometry.spacing_mm) * steps
    depth = ndimage.distance_transform_edt(inside, sampling=spacing)
    index = np.argwhere(inside)
    places = patch.geometry.to_lps_mm((index - 1) * steps)
    middle = places.mean(axis=0)
    behind_mm = places[:, 1] - places[:, 1].min()
    aside = (places[:, 0] - middle[0]) / MIDLINE_MM
    weight = depth[tuple(index.T)] ** BODY_POWER * np.exp(-behind_mm / FRONT_MM - aside**2)
    return (places * weight[:, None]).sum(axis=0) / weight.sum(), middle
