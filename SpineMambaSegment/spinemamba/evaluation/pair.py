"""Pair of label images on one grid: boxes, centroids and overlaps of all levels, and matching."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.errors import UserError
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.truncation import FieldOfView, cut_sides
from spinemamba.imaging.volume import Box, Geometry, Volume

SIZE = max(BY_VALUE) + 1
"""Number of label values including background; they have no gaps."""


@dataclass(frozen=True)
class Side:
    """One of the two images.

    Attributes:
        array: Label values in canonical orientation (z, y, x), cropped to the labels of both
            images.
        boxes: Bounding box of each level in the image, by label value.
        spacing_mm: Distance between voxel centres along z, y, x.
        voxel_ml: Volume of a voxel.
        centres_mm: Centroid of each level's mask, by value, in mm along z, y, x from an origin
            shared by both images.
    """

    array: np.ndarray
    boxes: dict[int, Box]
    spacing_mm: tuple[float, float, float]
    voxel_ml: float
    centres_mm: dict[int, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        centres = {value: self._centre_mm(value) for value in self.boxes}
        object.__setattr__(self, "centres_mm", centres)

    def _centre_mm(self, value: int) -> np.ndarray:
        box = self.boxes[value]
        inside = np.argwhere(self.array[box] == value).mean(axis=0)
        return (inside + [part.start for part in box]) * self.spacing_mm


@dataclass(frozen=True)
class LabelPair:
    """A segmentation and its reference on the same grid.

    Attributes:
        predicted: The segmentation.
        truth: The reference.
        shared: Confusion matrix: number of voxels for each pair of values, (`SIZE` predicted,
            `SIZE` true); row and column 0 are the background inside the crop.
        cut: Label values of the reference's vertebrae truncated by the whole image (`truncation`).
    """

    predicted: Side
    truth: Side
    shared: np.ndarray
    cut: frozenset[int]


def pair_labels(predicted: Volume, reference: Volume) -> LabelPair:
    """Pair two label images.

    Both are reoriented to canonical axes. They are never resampled, because that would change the
    scores.

    Args:
        predicted: Label image; 0 is background.
        reference: Label image on the same grid, in any orientation.

    Raises:
        UserError: If the grids differ, or a value is not in the label table.
    """
    volumes = [canonical(volume)[0] for volume in (predicted, reference)]
    if difference := volumes[0].geometry.difference(volumes[1].geometry):
        raise UserError(
            f"The grids differ: prediction and reference have {difference}.",
            "Compare a segmentation with labels of the same image, at its full resolution.",
        )
    for volume, side in zip(volumes, ("prediction", "reference"), strict=True):
        _check_levels(volume.array, side)
    box = _union_box([volume.array for volume in volumes])
    predicted_side, truth = (_side(volume, box) for volume in volumes)
    shared = _shared(predicted_side.array, truth.array)
    return LabelPair(predicted_side, truth, shared, _cut(truth, volumes[1].geometry, box))


def joint_box(boxes: list[Box]) -> Box:
    """Return the bounding box of several boxes."""
    parts = zip(*boxes, strict=True)
    return tuple(slice(min(p.start for p in axis), max(p.stop for p in axis)) for axis in parts)


def _check_levels(array: np.ndarray, side: str) -> None:
    # All values below SIZE are levels. Listing the unique values would take seconds.
    for value in (int(array.min()), int(array.max())):
        if not 0 <= value < SIZE:
            raise UserError(
                f"The {side} contains the value {value}, which is not a level.",
                "Use the values of the label table (C1 = 1 ... L5 = 24, sacrum = 26).",
            )


def _union_box(arrays: list[np.ndarray]) -> Box:
    """Return the bounding box of all labels; a single voxel if there are none."""
    sides = []
    for axis in range(3):
        others = tuple(k for k in range(3) if k != axis)
        places = np.flatnonzero(np.logical_or(*(a.any(axis=others) for a in arrays)))
        sides.append(slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 1))
    return tuple(sides)


def _side(volume: Volume, crop: Box) -> Side:
    array = volume.array[crop].astype(np.uint8)
    all_boxes = ndimage.find_objects(array, max_label=SIZE - 1)
    boxes = {value: box for value, box in enumerate(all_boxes, start=1) if box}
    return Side(array, boxes, volume.spacing_mm, volume.geometry.voxel_ml)


def _cut(side: Side, geometry: Geometry, crop: Box) -> frozenset[int]:
    """Return the label values of the vertebrae of a side that the whole image truncates."""
    view, first = FieldOfView.of_grid(geometry), [part.start for part in crop]
    cut = set()
    for value, box in side.boxes.items():
        voxels = np.argwhere(side.array[box] == value) + [part.start for part in box] + first
        if cut_sides(voxels, geometry, view):
            cut.add(value)
    return frozenset(cut)


def _shared(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the confusion matrix, computed slice by slice to save memory."""
    total = np.zeros(SIZE * SIZE, np.int64)
    for predicted_slice, true_slice in zip(predicted, truth, strict=True):
        codes = predicted_slice.astype(np.int32) * SIZE + true_slice
        total += np.bincount(codes.ravel(), minlength=SIZE * SIZE)
    return total.reshape(SIZE, SIZE)


_LEAST_IOU = 0.1
"""Smallest IoU of a match; vertebrae with a smaller one are touching neighbours."""


INSTANCE_IOU = 0.5
"""IoU above which a vertebra is detected (Kirillov et al., Panoptic Segmentation, CVPR 2019,
section 4.1: above 0.5, matches are unique)."""


def match_by_overlap(pair: LabelPair) -> dict[int, tuple[int, float]]:
    """Match predicted and true vertebrae one to one.

    Pairs with an IoU above `INSTANCE_IOU` are always matched, because they are unique; the others
    are chosen to maximise the sum of IoU (Hungarian algorithm of scipy).

    Args:
        pair: The two label images.

    Returns:
        Predicted value and IoU, at least `_LEAST_IOU`, for each true value with a match.
    """
    predicted, true = list(pair.predicted.boxes), list(pair.truth.boxes)
    shared = pair.shared[np.ix_(predicted, true)]
    sizes_predicted = pair.shared[predicted].sum(axis=1)
    sizes_true = pair.shared[:, true].sum(axis=0)
    iou = shared / (sizes_predicted[:, None] + sizes_true - shared)
    iou = np.where(iou >= _LEAST_IOU, iou, 0.0)
    # The bonus of 1 exceeds the IoU sum of any two alternative pairs of the same masks.
    rows, columns = linear_sum_assignment(iou + (iou > INSTANCE_IOU), maximize=True)
    return {
        true[column]: (predicted[row], float(iou[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if iou[row, column] > 0
    }
