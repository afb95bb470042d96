"""Which found vertebra is which true one, whatever their names."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from spinemamba.evaluation.pair import LabelPair

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
