"""Is this a label image, is that the image of it, and is that the result of the run?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.errors import UserError
from spinemamba.labels import BY_VALUE
from spinemamba.orientation import canonical
from spinemamba.result import Result
from spinemamba.volume import Geometry, Volume

LEAST_VOXELS = 1000
"""Fewer labelled voxels may be specks."""

LEAST_LIKE = 0.55
"""Share of the labelled voxels whose next one has the same value. Of real labels in voxels of 1 mm
it is above 0.85, in voxels of 6 mm 0.5 to 0.7; of CT and MR in 28 values or more below 0.52."""

MOST_FILLED, FILLED_LIKE = 0.5, 0.9
"""Labels that fill more of the image than this are as even as this. Images in a few values are not:
up to 0.85 in three."""

MOST_ML = {"Sacrum": 900.0}
MOST_OTHER_ML = 300.0
"""A level is not larger than this: then the values do not number the levels."""

LEAST_EVEN = 0.8
"""As `LEAST_LIKE`, of an image that is no image but labels."""

SAME_PLACE_MM = 5.0
"""Centroids of a result and of its labels differ by less than 1 mm, in slices of 5 mm too."""

SAME_VOLUME = {True: (0.05, 0.3), False: (0.2, 1.0)}
"""Share, and mL, that the volume of a whole (True) or cut (False) vertebra may differ by: it is
counted on another grid. Of whole ones 3 % were seen, of cut ones 15 %, in slices of 5 mm."""


@dataclass(frozen=True)
class Extent:
    """A level in a label image: its name, its volume, and its centroid in LPS, (3,)."""

    name: str
    volume_ml: float
    centroid_lps_mm: np.ndarray


def check_labels(labels: Volume, name: str) -> None:
    """Refuse an image that was given in place of labels.

    Raises:
        UserError: If its values cannot be those of levels.
    """
    array = labels.array
    low, high = int(array.min()), int(array.max())
    if low < 0:
        raise _no_labels(name, f"such as {low}")
    shown = array != 0
    if int(shown.sum()) >= LEAST_VOXELS:
        like = _likeness(array, shown)
        if like < (FILLED_LIKE if shown.mean() > MOST_FILLED else LEAST_LIKE):
            share = f"{100 * (1 - like):.0f} % of them differ from the next voxel"
            raise _no_labels(name, f"from 0 to {high}, and {share}")
    levels = array[shown & (array <= max(BY_VALUE))]
    voxel_ml = float(np.prod(labels.spacing_mm)) / 1000
    sizes_ml = np.bincount(levels, minlength=max(BY_VALUE) + 1) * voxel_ml
    for value, label in BY_VALUE.items():
        if sizes_ml[value] > MOST_ML.get(label.name, MOST_OTHER_ML):
            raise UserError(
                f"In {name}, {label.name} (value {value}) has {sizes_ml[value]:.0f} mL, "
                "more than a vertebra can have.",
                "Choose a label image with a value for each level, as in README's label table.",
            )


def check_image(image: Volume, name: str) -> None:
    """Refuse labels that were given in place of the image, whatever their numbers are.

    Raises:
        UserError: If all its values are those of levels, or it is even where it is not empty.
    """
    array = image.array
    if array.dtype.kind not in "iu" or array.min() < 0:
        return
    shown = array != 0
    if array.max() <= max(BY_VALUE):
        how = f"holds only the values 0 to {int(array.max())}"
    elif shown.mean() <= MOST_FILLED and _likeness(array, shown) >= LEAST_EVEN:
        how = "is 0 nearly everywhere, and even elsewhere"
    else:
        return
    raise UserError(
        f"{name} is a label image and no CT or MR: it {how}.", "Give the image that was segmented."
    )


def on_grid_of(labels: Volume, image: Volume) -> Volume:
    """Return an image on exactly the grid of its labels.

    Args:
        labels: In canonical orientation.
        image: On the same voxels, in any order of its axes.

    Returns:
        The image in canonical orientation.

    Raises:
        UserError: If the grids differ; says in what.
    """
    upright = canonical(image)[0]
    if difference := upright.geometry.difference(labels.geometry):
        raise UserError(
            f"Image and labels do not have the same voxels: {difference}.",
            "Give the image that was segmented.",
        )
    return upright.on(labels.geometry)


def extents(labels: Volume) -> list[Extent]:
    """Return every level that is there."""
    voxel_ml = float(np.prod(labels.spacing_mm)) / 1000
    boxes = ndimage.find_objects(labels.array, max_label=max(BY_VALUE))
    found = []
    for value, box in enumerate(boxes, start=1):
        if box is not None and value in BY_VALUE:
            index = np.argwhere(labels.array[box] == value)
            centre = labels.geometry.to_lps_mm(index.mean(axis=0) + [part.start for part in box])
            found.append(Extent(BY_VALUE[value].name, len(index) * voxel_ml, centre))
    return found


def why_other(result: Result, labels: Volume, *, corrected: bool = False) -> str:
    """Return why a result cannot be that of these labels; empty if it can.

    Args:
        result: Of a run.
        labels: Label values.
        corrected: Whether a person may have changed the labels since: volumes say nothing then.
    """
    grid = Geometry(
        result.shape,
        result.spacing_mm,
        result.origin_lps_mm,
        np.reshape(result.direction_lps, (3, 3)),
    )
    if difference := grid.difference(labels.geometry):
        return f"its run had another grid, {difference}"
    known = {item.name: item for item in result.instances}
    for level in extents(labels):
        name = level.name
        if name not in known:
            return f"it knows no {name}, only {', '.join(known)}"
        away_mm = np.linalg.norm(level.centroid_lps_mm - known[name].centroid_lps_mm)
        if away_mm > SAME_PLACE_MM:
            return f"{name} lies {away_mm:.0f} mm from its place there"
        share, ml = SAME_VOLUME[known[name].complete]
        there_ml = known[name].volume_ml
        if not corrected and abs(there_ml - level.volume_ml) > ml + share * there_ml:
            return f"{name} has {there_ml:.1f} mL there and {level.volume_ml:.1f} mL in the labels"
    return ""


def _likeness(array: np.ndarray, shown: np.ndarray) -> float:
    """Return the share of the shown voxels whose next one along x and y has the same value."""
    alike = total = 0
    for axis in (1, 2):
        first = tuple(slice(None, -1) if k == axis else slice(None) for k in range(3))
        second = tuple(slice(1, None) if k == axis else slice(None) for k in range(3))
        seen = shown[first]
        alike += int((array[first] == array[second])[seen].sum())
        total += int(seen.sum())
    return alike / max(total, 1)


def _no_labels(name: str, how: str) -> UserError:
    return UserError(
        f"{name} holds values that are no labels, {how}.",
        "Choose a label image, not the CT, the MR or probabilities.",
    )
