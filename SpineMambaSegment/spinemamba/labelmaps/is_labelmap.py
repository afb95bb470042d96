"""Is this a label image, or an image in place of one?"""

from __future__ import annotations

import numpy as np

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.errors import UserError
from spinemamba.imaging.volume import Volume

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
    if high > max(BY_VALUE):
        return  # the values number other structures as well, which may be larger
    levels = array[shown]
    voxel_ml = float(np.prod(labels.spacing_mm)) / 1000
    sizes_ml = np.bincount(levels, minlength=max(BY_VALUE) + 1) * voxel_ml
    for value, label in BY_VALUE.items():
        if sizes_ml[value] > MOST_ML.get(label.name, MOST_OTHER_ML):
            raise UserError(
                f"In {name}, {label.name} (value {value}) has {sizes_ml[value]:.0f} mL, "
                "more than a vertebra can have.",
                "Choose a label image with a value for each level, such as VerSe's numbers.",
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
