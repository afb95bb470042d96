"""Two label images of one spine, side by side: boxes, centres and shared voxels of each level."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.errors import UserError
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.truncation import FieldOfView, cut_sides
from spinemamba.imaging.volume import Volume

Box = tuple[slice, slice, slice]

SIZE = max(BY_VALUE) + 1
"""Label values lie below this, without a gap."""


@dataclass(frozen=True)
class Side:
    """One of the two images.

    Attributes:
        array: Label values, canonical axes (z, y, x), cut to what either image labels.
        boxes: Smallest box of each level that is there, by label value.
        cut: Values that the edge of the whole image cuts (`truncation`).
        spacing_mm: Distance between voxel centres along z, y, x.
        voxel_ml: Volume of a voxel.
        centres_mm: Centroid of each level's mask, by value: millimetres along the image's own
            axes (z, y, x) from a place that both sides share.
    """

    array: np.ndarray
    boxes: dict[int, Box]
    cut: frozenset[int]
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
    """A segmentation and its reference on the same voxels.

    Attributes:
        found: The segmentation.
        truth: The reference.
        shared: Number of voxels with each pair of values, (`SIZE` found, `SIZE` truth); row and
            column 0 are the background, as far as it was kept.
    """

    found: Side
    truth: Side
    shared: np.ndarray


def pair_labels(predicted: Volume, reference: Volume) -> LabelPair:
    """Lay two label images on each other.

    Images whose axes are merely in another order or direction are turned first, voxel for voxel;
    nothing is ever resampled, because that changes what is measured.

    Args:
        predicted: Label values; 0 is background.
        reference: Label values with the same voxels.

    Raises:
        UserError: If the voxels are not the same, or a value is not in the label table.
    """
    volumes = [canonical(volume)[0] for volume in (predicted, reference)]
    if difference := volumes[0].geometry.difference(volumes[1].geometry):
        raise UserError(
            f"The grids differ: prediction and reference have {difference}.",
            "Compare a segmentation with labels of the same image, at its full resolution.",
        )
    for volume, side in zip(volumes, ("prediction", "reference"), strict=True):
        _check_levels(volume.array, side)
    whole = _union_box([volume.array for volume in volumes])
    found, truth = (_side(volume, whole) for volume in volumes)
    return LabelPair(found, truth, _shared(found.array, truth.array))


def joint_box(boxes: list[Box]) -> Box:
    """Return the smallest box around boxes."""
    parts = zip(*boxes, strict=True)
    return tuple(slice(min(p.start for p in axis), max(p.stop for p in axis)) for axis in parts)


def _check_levels(array: np.ndarray, side: str) -> None:
    # Every number below SIZE is a level; sorting all voxels to list them would take seconds.
    for value in (int(array.min()), int(array.max())):
        if not 0 <= value < SIZE:
            raise UserError(
                f"The {side} holds the value {value}, which is no level.",
                "Renumber its labels as the label table does (C1 = 1 ... L5 = 24, sacrum = 26).",
            )


def _union_box(arrays: list[np.ndarray]) -> Box:
    """Return the box around everything that is labelled; one voxel if nothing is."""
    sides = []
    for axis in range(3):
        others = tuple(k for k in range(3) if k != axis)
        places = np.flatnonzero(np.logical_or(*(a.any(axis=others) for a in arrays)))
        sides.append(slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 1))
    return tuple(sides)


def _side(volume: Volume, whole: Box) -> Side:
    array = volume.array[whole].astype(np.uint8)
    found = ndimage.find_objects(array, max_label=SIZE - 1)
    boxes = {value: box for value, box in enumerate(found, start=1) if box}
    view, first = FieldOfView.of_grid(volume.geometry), [part.start for part in whole]
    cut = set()
    for value, box in boxes.items():
        voxels = np.argwhere(array[box] == value) + [part.start for part in box] + first
        if cut_sides(voxels, volume.geometry, view):
            cut.add(value)
    return Side(array, boxes, frozenset(cut), volume.spacing_mm, volume.geometry.voxel_ml)


def _shared(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Count pairs of values slice by slice: codes of a whole image would take much memory."""
    total = np.zeros(SIZE * SIZE, np.int64)
    for below, above in zip(found, truth, strict=True):
        codes = below.astype(np.int32) * SIZE + above
        total += np.bincount(codes.ravel(), minlength=SIZE * SIZE)
    return total.reshape(SIZE, SIZE)


LEAST_IOU = 0.1
"""Two vertebrae that share less are neighbours that touch, not the same one."""


INSTANCE_IOU = 0.5
"""A vertebra counts as detected above this (Kirillov et al., Panoptic Segmentation, CVPR 2019,
section 4.1: above one half, no mask has two partners)."""


def match_by_overlap(pair: LabelPair) -> dict[int, tuple[int, float]]:
    """Pair found with true vertebrae one to one.

    The pairs with an IoU above `INSTANCE_IOU` are always taken, because no other partner can
    reach it; the rest are chosen so that the sum of IoU is largest (Hungarian algorithm, scipy).

    Args:
        pair: The two images.

    Returns:
        For each true value that has a partner: the partner's value and their IoU, which is at
        least `LEAST_IOU`.
    """
    found, true = list(pair.found.boxes), list(pair.truth.boxes)
    shared = pair.shared[np.ix_(found, true)]
    sizes_found = pair.shared[found].sum(axis=1)
    sizes_true = pair.shared[:, true].sum(axis=0)
    iou = shared / (sizes_found[:, None] + sizes_true - shared)
    iou = np.where(iou >= LEAST_IOU, iou, 0.0)
    # One more than any two other pairs of the same masks can bring together.
    rows, columns = linear_sum_assignment(iou + (iou > INSTANCE_IOU), maximize=True)
    return {
        true[column]: (found[row], float(iou[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if iou[row, column] > 0
    }
