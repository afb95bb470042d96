"""Distinguish label maps from images."""

from __future__ import annotations

import numpy as np

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.errors import UserError
from spinemamba.imaging.volume import Volume

_LEAST_VOXELS = 1000
"""Minimum number of labelled voxels for the test of smoothness; fewer may be specks."""

_LEAST_LIKE = 0.55
"""Minimum share of labelled voxels whose neighbour has the same value. Measured: above 0.85 for
labels in 1 mm voxels, 0.5 to 0.7 in 6 mm voxels; below 0.52 for CT and MR with 28 values or
more."""

_MOST_FILLED, _FILLED_LIKE = 0.5, 0.9
"""If labels fill more than the first share of the image, the minimum is the second. An image
quantised to three values reaches 0.85."""

_MOST_ML = {"Sacrum": 900.0}
_MOST_OTHER_ML = 300.0
"""Largest volume of a level. If it is exceeded, the values are not levels."""

_LEAST_EVEN = 0.8
"""As `_LEAST_LIKE`, to recognise labels that were given as the image."""


def check_labels(labels: Volume, name: str) -> None:
    """Refuse an image that was given as labels.

    Raises:
        UserError: If its values cannot be those of levels.
    """
    array = labels.array
    low, high = int(array.min()), int(array.max())
    if low < 0:
        raise _not_labels(name, f"such as {low}")
    labelled = array != 0
    if int(labelled.sum()) >= _LEAST_VOXELS:
        like = _smoothness(array, labelled)
        if like < (_FILLED_LIKE if labelled.mean() > _MOST_FILLED else _LEAST_LIKE):
            share = f"{100 * (1 - like):.0f} % of them differ from the next voxel"
            raise _not_labels(name, f"from 0 to {high}, and {share}")
    if high > max(BY_VALUE):
        return  # the values include other structures, which may be larger
    levels = array[labelled]
    voxel_ml = labels.geometry.voxel_ml
    sizes_ml = np.bincount(levels, minlength=max(BY_VALUE) + 1) * voxel_ml
    for value, label in BY_VALUE.items():
        if sizes_ml[value] > _MOST_ML.get(label.name, _MOST_OTHER_ML):
            raise UserError(
                f"In {name}, {label.name} (value {value}) has {sizes_ml[value]:.0f} mL, "
                "more than a vertebra can have.",
                "Choose a label map with a value for each level, such as VerSe's numbers.",
            )


def check_image(image: Volume, name: str) -> None:
    """Refuse a label map that was given as the image, in any numbering.

    Raises:
        UserError: If all values are those of levels, or neighbouring nonzero voxels mostly have the
            same value.
    """
    array = image.array
    if array.dtype.kind not in "iu" or array.min() < 0:
        return
    labelled = array != 0
    if array.max() <= max(BY_VALUE):
        how = f"has only the values 0 to {int(array.max())}"
    elif labelled.mean() <= _MOST_FILLED and _smoothness(array, labelled) >= _LEAST_EVEN:
        how = "is 0 nearly everywhere, and constant in regions elsewhere"
    else:
        return
    raise UserError(
        f"{name} is a label map, not a CT or MR: it {how}.", "Give the image that was segmented."
    )


def _smoothness(array: np.ndarray, labelled: np.ndarray) -> float:
    """Return the share of labelled voxels whose next voxel along y or x has the same value."""
    alike = total = 0
    for axis in (1, 2):
        first = tuple(slice(None, -1) if k == axis else slice(None) for k in range(3))
        second = tuple(slice(1, None) if k == axis else slice(None) for k in range(3))
        inner = labelled[first]
        alike += int((array[first] == array[second])[inner].sum())
        total += int(inner.sum())
    return alike / max(total, 1)


def _not_labels(name: str, how: str) -> UserError:
    return UserError(
        f"{name} holds values that are not labels, {how}.",
        "Choose a label map, not the CT, the MR or probabilities.",
    )
